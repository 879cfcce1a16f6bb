-- KEYS: a conversation. ARGV: before (microseconds), limit. Its oldest messages from before that, as id and body.
local members = redis.call('ZRANGE', KEYS[1], '(0', '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])
local before, found = tonumber(ARGV[1]), {}
for _, member in ipairs(members) do
    local id = string.match(member, '^[^:]+')
    local body = redis.call('HGET', partition(id) .. 'b', id)
    if body and made_at(body) >= before then
        break
    end
    found[#found + 1] = id
    found[#found + 1] = body or ''
end
return found
