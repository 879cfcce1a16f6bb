-- KEYS: sequences. ARGV: capacity of a queue, of its overflow, then of each 'u' and how many numbers and these, or 'c',
-- how many numbers, and of each the number, a message, its member and its body. Those still unused are closed.
local capacity, bound, at = tonumber(ARGV[1]), tonumber(ARGV[2]), 3
for i = 1, #KEYS do
    local key, kind, count = KEYS[i], ARGV[at], tonumber(ARGV[at + 1])
    local floor = floor_of(key)
    at = at + 2
    for _ = 1, count do
        local number = tonumber(ARGV[at])
        if kind == 'u' then
            if number > floor and not entry_of(key, number) then
                put_entry(key, number, string.format('%.0f:-:', number))
            end
            at = at + 1
        else
            if number > floor and #redis.call('ZRANGE', key, number, number, 'BYSCORE') == 0 then
                local id = ARGV[at + 1]
                redis.call('HSET', partition(id) .. 'b', id, ARGV[at + 3])
                redis.call('HSET', partition(id) .. 'r', id, 1)
                redis.call('ZADD', key, number, ARGV[at + 2])
            end
            at = at + 4
        end
    end
    if kind == 'u' then
        spill(key, capacity, bound)
    end
end
