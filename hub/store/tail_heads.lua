-- KEYS: tails. ARGV: nonce, keep, patience of a claim in ms. Of each the highest seq, or the claim where it is not
-- trusted (a number and a text tell apart).
local heads = {}
for i = 1, #KEYS do
    local mark = mark_of(KEYS[i])
    if mark == TRUSTED then
        heads[i] = tonumber(redis.call('ZRANGE', KEYS[i], -1, -1, 'WITHSCORES')[2])
    else
        heads[i] = claim(KEYS[i], mark, ARGV[1], ARGV[2], ARGV[3])
    end
end
return heads
