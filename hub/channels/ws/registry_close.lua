-- KEYS: the user's sessions. ARGV: field, now, ttl in ms. Without a session left, the time waits to be told. It is noted
-- even where nothing was there: Redis may have been emptied, and those who watch still believe her online.
redis.call('HDEL', KEYS[1], ARGV[1])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, -5) ~= '/poll' then
        return
    end
end
redis.call('HSET', KEYS[1], '~', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
