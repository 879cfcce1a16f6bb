-- ARGV: a set of strays, then of each message its id, its body, the new one. What has changed meanwhile stays, and among
-- the strays; the others leave them.
for i = 2, #ARGV, 3 do
    local id, old, new = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local home = partition(id) .. 'b'
    if redis.call('HGET', home, id) == old then
        for n = 0, string.byte(old, 1) - 1 do
            forget_identity(string.sub(old, 2 + 16 * n, 17 + 16 * n), id)
        end
        redis.call('HSET', home, id, new)
        redis.call('SREM', ARGV[1], id)
    end
end
return 1
