-- KEYS: the batches. ARGV: '' or ':unmarked', from, to, skip, limit. Each as id and references, oldest first. What SQL
-- does not have yet is nobody's to publish.
local found = {}
local ids = redis.call('ZRANGE', KEYS[1] .. ARGV[1], ARGV[2], ARGV[3], 'BYSCORE', 'LIMIT', ARGV[4], ARGV[5])
for _, id in ipairs(ids) do
    local refs = redis.call('HGET', KEYS[1] .. ':refs', id)
    if refs and redis.call('HEXISTS', KEYS[1] .. ':pending', id) == 0 then
        found[#found + 1] = id
        found[#found + 1] = refs
    end
end
return found
