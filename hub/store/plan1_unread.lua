-- KEYS: conversations. ARGV: whose view, how many numbers to look at, then of each a number, the highest number that
-- counts, what is hidden and what mentions the viewer (',<number>,…,' or ''). How many messages of others are between the
-- two among the newest, neither control, closed, taken back nor hidden; and the highest of them that mentions the viewer,
-- or 0.
local found = {}
for i = 1, #KEYS do
    local past, last, hidden, mentions = tonumber(ARGV[4 * i - 1]), ARGV[4 * i], ARGV[4 * i + 1], ARGV[4 * i + 2]
    local top = redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2]
    local low = string.format('(%.0f', math.max(0, past, (top and tonumber(top) or 0) - tonumber(ARGV[2])))
    local count, mention = 0, 0
    local members = redis.call('ZRANGE', KEYS[i], low, last, 'BYSCORE', 'WITHSCORES')
    for n = 1, #members, 2 do
        local sender, flags = string.match(members[n], ':(%d+):(%a*)$')
        local number = ',' .. members[n + 1] .. ','
        if flags == '' and sender ~= ARGV[1] and not string.find(hidden, number, 1, true) then
            count = count + 1
            if string.find(mentions, number, 1, true) then
                mention = tonumber(members[n + 1])
            end
        end
    end
    found[2 * i - 1] = count
    found[2 * i] = mention
end
return found
