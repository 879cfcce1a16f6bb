-- KEYS: the user's sessions, the user's watchers. ARGV: field, session, ttl in ms.
-- The hash has, beside notes of long polls (`node/boot/poll`), exactly while those who watch the user believe her
-- online: sessions by `node/boot/id`, and `~`, the time at which the last one closed, while that is not told yet.
-- Answers the watchers if they must be told.
local believed = false
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, -5) ~= '/poll' then
        believed = true
        break
    end
end
redis.call('HDEL', KEYS[1], '~')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not believed then
    return redis.call('SMEMBERS', KEYS[2])
end
return false
