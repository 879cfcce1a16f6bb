-- KEYS: the batches. ARGV: before, how many to look at, after how many to begin. Forgets those that were published and
-- whose part in SQL is done. Answers how many were looked at, and how many went.
local ids = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', ARGV[3], ARGV[2])
local gone = 0
for _, id in ipairs(ids) do
    if not redis.call('ZSCORE', KEYS[1] .. ':unmarked', id) and redis.call('HEXISTS', KEYS[1] .. ':pending', id) == 0 then
        redis.call('ZREM', KEYS[1], id)
        redis.call('HDEL', KEYS[1] .. ':refs', id)
        gone = gone + 1
    end
end
return {#ids, gone}
