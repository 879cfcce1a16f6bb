-- KEYS: a conversation, and a queue or ''. ARGV: floor, last. Who wrote between; with a queue, of what came to it.
local members = redis.call('ZRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'BYSCORE', 'WITHSCORES')
local seen, found = {}, {}
for i = 1, #members, 2 do
    local sender = string.match(members[i], '^[^:]+:(%d+):')
    if not seen[sender] and (KEYS[2] == '' or redis.call('ZCOUNT', KEYS[2] .. ':i', members[i + 1], members[i + 1]) > 0) then
        seen[sender] = true
        found[#found + 1] = sender
    end
end
return found
