-- KEYS: the last forced refresh, the day's count. ARGV: owner, gap in ms, how many a day.
-- 1 where the owner may force one now, which is counted here; it may be run twice.
local last = redis.call('GET', KEYS[1])
if last then
    return last == ARGV[1] and 1 or 0
end
local day = math.floor((tonumber(redis.call('TIME')[1]) + 28800) / 86400) -- days begin in Beijing
if tonumber(redis.call('HGET', KEYS[2], day) or 0) >= tonumber(ARGV[3]) then
    return 0
end
redis.call('HINCRBY', KEYS[2], day, 1)
redis.call('EXPIRE', KEYS[2], 172800)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
