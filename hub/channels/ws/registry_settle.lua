-- KEYS: the user's sessions, the user's watchers. ARGV: how the fields of a dead instance begin ('' for none), since
-- when the user must have been away ('' for any time: another close, with its own pause, sets another).
-- Removes those fields. If no session is left, forgets the user and answers {since when or '', watchers}: exactly one
-- asker gets that answer, and tells.
local key, prefix, wanted = KEYS[1], ARGV[1], ARGV[2]
local fields = redis.call('HKEYS', key)
local left, since = 0, ''
for _, field in ipairs(fields) do
    if field == '~' then
        since = redis.call('HGET', key, '~')
    elseif prefix ~= '' and string.sub(field, 1, #prefix) == prefix then
        redis.call('HDEL', key, field)
    else
        left = left + 1
    end
end
if left > 0 or #fields == 0 or (wanted ~= '' and wanted ~= since) then
    return false
end
redis.call('DEL', key)
return {since, redis.call('SMEMBERS', KEYS[2])}
