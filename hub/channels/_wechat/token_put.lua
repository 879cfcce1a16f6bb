-- KEYS: token, lock. ARGV: owner, sealed token, its life in ms. Only the holder of the lock stores, and lets go:
-- an answer that comes after the lock has ended may be older than what another has stored.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
