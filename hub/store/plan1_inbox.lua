-- KEYS: a queue. ARGV: a number in the inbox, at most how many. The newest message that came by the inbox as id and
-- body ('' and '' for none), and how many of the newest came past that number and were not taken back.
local key = KEYS[1]

local function message_at(number)
    local member = entry_of(key, tonumber(number))
    local id = member and message_of(member)
    return id or '', id and redis.call('HGET', partition(id) .. 'b', id) or ''
end

local newest = redis.call('ZRANGE', key .. ':i', -1, -1)[1]
local id, body = '', ''
if newest then
    id, body = message_at(newest)
end
local count = 0
for _, number in ipairs(redis.call('ZRANGE', key .. ':i', '+inf', '(' .. ARGV[1], 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2])) do
    local _, told = message_at(number)
    if told == '' or not is_of_kind(told, 'recalled') then
        count = count + 1
    end
end
return {id, body, count}
