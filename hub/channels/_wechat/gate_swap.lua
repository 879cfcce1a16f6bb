-- KEYS: the gate. ARGV: the state it was decided from ('' for none), the new one, ttl in ms. Nil where it is stored;
-- else the state and time to decide from again. States carry a nonce, so that it may be run twice by one caller.
local before = redis.call('GET', KEYS[1]) or ''
if before ~= ARGV[1] and before ~= ARGV[2] then
    local time = redis.call('TIME')
    return { before, time[1] * 1000 + math.floor(time[2] / 1000) }
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false
