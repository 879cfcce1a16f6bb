-- KEYS: sequences that may have gone back. ARGV: how far to jump, then of each the least that was seen of it elsewhere,
-- -1 where nothing can have been seen, and u for a queue or c for a conversation. Numbers that somebody was shown, and
-- that this server forgot, are never given again: the sequence goes on above them all. A queue gets a closed number
-- at its new end, so that who reads it finds that there is an end. Answers the heads.
local jump = tonumber(ARGV[1])
local heads = {}
for i = 1, #KEYS do
    local key, least, kind = KEYS[i], tonumber(ARGV[2 * i]), ARGV[2 * i + 1]
    if mark_of(key) ~= MARK then
        local head = head_of(key)
        if least >= 0 or head > 0 then
            head = math.max(head, least) + jump
            if kind == 'u' then
                raise_floor(key, head - 1)
                redis.call('ZADD', key, head, string.format('%.0f:-:', head))
            else
                raise_floor(key, head)
            end
        end
        plant_mark(key)
    end
    heads[i] = head_of(key)
end
return heads
