-- KEYS: the gate. Its state ('' for none), and the server's time in ms.
local time = redis.call('TIME')
return { redis.call('GET', KEYS[1]) or '', time[1] * 1000 + math.floor(time[2] / 1000) }
