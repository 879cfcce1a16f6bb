-- KEYS: token. The sealed token and the milliseconds it lives, by the server's clock alone.
return { redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) }
