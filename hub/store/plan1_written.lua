-- KEYS: a conversation. ARGV: a user, limit. What the user wrote there, as number, member, id and body.
local found = {}
local members = redis.call('ZRANGE', KEYS[1], '(0', '+inf', 'BYSCORE', 'WITHSCORES')
for i = 1, #members, 2 do
    local id, sender = string.match(members[i], '^([^:]+):(%d+):')
    if sender == ARGV[1] then
        local body = redis.call('HGET', partition(id) .. 'b', id)
        if body then
            for _, word in ipairs({members[i + 1], members[i], id, body}) do
                found[#found + 1] = word
            end
            if #found >= 4 * tonumber(ARGV[2]) then
                break
            end
        end
    end
end
return found
