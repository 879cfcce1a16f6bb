-- ARGV: identities. Of each its owner and the owner's body, or '' and ''.
local found = {}
for i = 1, #ARGV do
    local owner = redis.call('HGET', partition(ARGV[i]) .. 'k', ARGV[i]) or ''
    local id = string.match(owner, '^[^:]*')
    found[2 * i - 1] = id
    found[2 * i] = id ~= '' and redis.call('HGET', partition(id) .. 'b', id) or ''
end
return found
