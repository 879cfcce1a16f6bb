-- KEYS: counters. ARGV: ttl in ms, then of each the last number drawn and the number before the first.
for i = 1, #KEYS do
    if redis.call('GET', KEYS[i]) == OWN .. ARGV[2 * i] then
        redis.call('SET', KEYS[i], OWN .. ARGV[2 * i + 1], 'PX', ARGV[1])
    end
end
