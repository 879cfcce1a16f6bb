-- KEYS: counters. ARGV: ttl in ms, then the least that each must be.
for i = 1, #KEYS do
    local now = redis.call('GET', KEYS[i])
    if not now or tonumber(now) < tonumber(ARGV[i + 1]) then
        redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ARGV[1])
    end
end
