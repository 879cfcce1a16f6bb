-- KEYS: a queue. ARGV: after, limit. Its references past that, ascending: the overflow's first.
local key, after, limit = KEYS[1], math.max(0, tonumber(ARGV[1])), tonumber(ARGV[2])
local found = {}
if last_spilled(key) > after then
    local list = key .. ':o'
    local from = position(list, after + 1)
    found = redis.call('LRANGE', list, from, from + limit - 1)
end
if #found < limit then
    local more = redis.call('ZRANGE', key, '(' .. string.format('%.0f', after), '+inf', 'BYSCORE', 'LIMIT', 0, limit - #found)
    for i = 1, #more do
        found[#found + 1] = more[i]
    end
end
return found
