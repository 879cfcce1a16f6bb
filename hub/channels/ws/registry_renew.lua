-- KEYS: register, lease. ARGV: instance, lease in ms. 0 where the lease or the entry in the register is gone. A script
-- and no plain PEXPIRE, so that another server than the one that the lease was taken from is noticed even by a node
-- that asks nothing else.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
    return 0
end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
