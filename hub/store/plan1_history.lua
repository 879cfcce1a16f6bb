-- KEYS: a conversation, or a queue. ARGV: 'c' or 'i' (of the queue, what came by the inbox), after and before
-- ('' for none), limit. Messages as id and body, ascending: the first past `after`, or the last before `before`.
local key, after, before, limit = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local inbox = ARGV[1] == 'i'
local place = inbox and key .. ':i' or key
local low = after == '' and '(0' or '(' .. string.format('%.0f', math.max(0, tonumber(after)))
local high = before == '' and '+inf' or '(' .. before
local members
if after == '' then
    members = redis.call('ZRANGE', place, high, low, 'BYSCORE', 'REV', 'LIMIT', 0, limit)
else
    members = redis.call('ZRANGE', place, low, high, 'BYSCORE', 'LIMIT', 0, limit)
end
local found = {}
local first, last, step = 1, #members, 1
if after == '' then
    first, last, step = #members, 1, -1
end
for i = first, last, step do
    local id
    if inbox then
        local member = entry_of(key, tonumber(members[i]))
        id = member and message_of(member)
    else
        id = string.match(members[i], '^[^:]+')
    end
    local body = id and redis.call('HGET', partition(id) .. 'b', id)
    if body then
        found[#found + 1] = id
        found[#found + 1] = body
    end
end
return found
