-- KEYS: a queue. ARGV: a number in the inbox, at most how many. The newest message that came by the inbox as id and
-- body ('' and '' for none), and how many came past that number.
local newest = redis.call('ZRANGE', KEYS[1] .. ':i', -1, -1)[1]
local member = newest and entry_of(KEYS[1], tonumber(newest))
local id = member and message_of(member) or ''
local body = id ~= '' and redis.call('HGET', partition(id) .. 'b', id) or ''
local count = redis.call('ZCOUNT', KEYS[1] .. ':i', '(' .. ARGV[1], '+inf')
return {id, body, math.min(count, tonumber(ARGV[2]))}
