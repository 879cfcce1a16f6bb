-- KEYS: counters. ARGV: ttl in ms, then how many numbers of each.
-- All or nothing: a counter that is not here must be raised from the store before anything is drawn.
for i = 1, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then
        return {}
    end
end
local first = {}
for i = 1, #KEYS do
    local count = tonumber(ARGV[i + 1])
    first[i] = redis.call('INCRBY', KEYS[i], count) - count + 1
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
return first
