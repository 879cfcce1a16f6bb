-- KEYS: the life of this server. ARGV: 1 where nothing was ever kept here. Answers '<epoch>:<since when, ms>:<0 or 1>'.
local life = redis.call('GET', KEYS[1])
if not life or string.sub(life, 1, #EPOCH) ~= EPOCH then
    local clock = redis.call('TIME')
    local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
    life = string.format('%s:%.0f:%s', EPOCH, now, ARGV[1])
    redis.call('SET', KEYS[1], life)
end
return life
