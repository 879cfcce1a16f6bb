-- KEYS: the user's sessions, the user's watchers. ARGV: how the fields of a dead instance begin ('' for none), since
-- when the user must have been away ('' for any time: another close, with its own pause, sets another).
-- Removes those fields. If no session is left, forgets the user and answers {since when or '', watchers}: exactly one
-- asker gets that answer, and tells. Notes of long polls are no sessions.
local key, prefix, wanted = KEYS[1], ARGV[1], ARGV[2]
local believed, left, since = false, false, ''
for _, field in ipairs(redis.call('HKEYS', key)) do
    local session = field ~= '~' and string.sub(field, -5) ~= '/poll'
    believed = believed or session or field == '~'
    if field == '~' then
        since = redis.call('HGET', key, '~')
    elseif prefix ~= '' and string.sub(field, 1, #prefix) == prefix then
        redis.call('HDEL', key, field)
    elseif session then
        left = true
    end
end
if left or not believed or (wanted ~= '' and wanted ~= since) then
    return false
end
redis.call('HDEL', key, '~')
return {since, redis.call('SMEMBERS', KEYS[2])}
