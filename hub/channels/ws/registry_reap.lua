-- KEYS: register, lease of the dead instance, lock. ARGV: dead instance, who wants to clean up, lock in ms.
-- 1 where the asker has the lock from now on, or had it. If it dies meanwhile, the next one finds what is left.
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
local holder = redis.call('GET', KEYS[3])
if holder and holder ~= ARGV[2] then
    return 0
end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
return 1
