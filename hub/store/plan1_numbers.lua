-- KEYS: queues. ARGV: a message and its number in the inbox, or 0. Its number in each, or 0. Outside the inbox a queue is
-- looked through.
local found = {}
for i = 1, #KEYS do
    local number = 0
    if ARGV[2] ~= '0' then
        number = tonumber(redis.call('ZRANGE', KEYS[i] .. ':i', ARGV[2], ARGV[2], 'BYSCORE')[1] or 0)
    else
        for _, some in ipairs({redis.call('ZRANGE', KEYS[i], '(0', '+inf', 'BYSCORE'), redis.call('LRANGE', KEYS[i] .. ':o', 0, -1)}) do
            for _, member in ipairs(some) do
                if message_of(member) == ARGV[1] then
                    number = number_of(member)
                end
            end
        end
    end
    found[i] = number
end
return found
