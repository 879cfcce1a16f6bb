-- KEYS: a conversation. ARGV: of each message its number, its member, the new one, its id, its body, the new one. What
-- has changed meanwhile stays as it is. Answers how many were replaced.
local done = 0
for i = 1, #ARGV, 6 do
    local number, old, new, id = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local home = partition(id) .. 'b'
    if redis.call('HGET', home, id) == ARGV[i + 4] and redis.call('ZSCORE', KEYS[1], old) then
        for n = 0, string.byte(ARGV[i + 4], 1) - 1 do
            forget_identity(string.sub(ARGV[i + 4], 2 + 16 * n, 17 + 16 * n), id)
        end
        redis.call('ZREM', KEYS[1], old)
        redis.call('ZADD', KEYS[1], number, new)
        redis.call('HSET', home, id, ARGV[i + 5])
        done = done + 1
    end
end
return done
