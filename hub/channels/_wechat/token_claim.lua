-- KEYS: lock. ARGV: owner, ttl in ms. 1 where the lock is the owner's now; it may be run twice.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
