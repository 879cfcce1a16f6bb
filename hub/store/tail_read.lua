-- KEYS: one tail. ARGV: after, limit, nonce, keep, patience of a claim in ms.
-- {1, members past `after`} if the tail is trusted, else {0, claim}. Whether they are contiguous, the caller sees.
local mark = mark_of(KEYS[1])
if mark ~= TRUSTED then
    return {0, claim(KEYS[1], mark, ARGV[3], ARGV[4], ARGV[5])}
end
return {1, redis.call('ZRANGE', KEYS[1], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])}
