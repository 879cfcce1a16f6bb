-- KEYS: register, lease. ARGV: instance, lease in ms.
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1])
redis.call('SET', KEYS[2], 'alive', 'PX', ARGV[2])
