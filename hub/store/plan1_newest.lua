-- KEYS: conversations. ARGV: 'at' or 'body', then of each a number and ',<number>,…,' of what is hidden (or ''). The
-- newest message past the number, among the newest 200 numbers, that is neither control, closed nor hidden: as id and
-- body, or as the microseconds at which it was made and '' (nothing for none).
local found = {}
for i = 1, #KEYS do
    local past, hidden = tonumber(ARGV[2 * i]), ARGV[2 * i + 1]
    local top = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2]
    local low = string.format('(%.0f', math.max(0, past, (top and tonumber(top) or 0) - 200))
    local id, body, skip, seen = '', '', 0, 16
    while id == '' and seen == 16 do
        local members = redis.call('ZRANGE', KEYS[i], '+inf', low, 'BYSCORE', 'REV', 'LIMIT', skip, 16, 'WITHSCORES')
        for n = 1, #members, 2 do
            local flags = string.match(members[n], ':(%a*)$')
            if id == '' and (flags == '' or flags == 'r') and not string.find(hidden, ',' .. members[n + 1] .. ',', 1, true) then
                id = string.match(members[n], '^[^:]+')
                body = redis.call('HGET', partition(id) .. 'b', id) or ''
            end
        end
        skip, seen = skip + 16, #members / 2
    end
    if ARGV[1] == 'at' and body ~= '' then
        id, body = string.format('%.0f', made_at(body)), ''
    end
    found[2 * i - 1] = id
    found[2 * i] = body
end
return found
