-- KEYS: one tail. ARGV: keep, ttl in ms, claim ('' where none is known), head, then entries (seq, member), ascending
-- and contiguous up to head. Trusts the tail, unless something may have been lost since the store was read.
local key, keep, wanted, head = KEYS[1], tonumber(ARGV[1]), ARGV[3], ARGV[4]
local mark = mark_of(key)
if wanted ~= '' and mark ~= TRUSTED and mark ~= CLAIM .. wanted then
    return 0
end
-- Up to head the store is right. Above it are entries appended since it was read: newer than its answer, they stay.
-- A gap above head is an append still on its way, or one left to the sweep; every reader sees it and asks the store.
redis.call('ZREMRANGEBYSCORE', key, '-inf', head)
local above = redis.call('ZCARD', key)
if above > keep then
    redis.call('ZREMRANGEBYRANK', key, 0, above - keep - 1)
end
local first = math.max(5, #ARGV + 1 - 2 * math.max(0, keep - above))
redis.call('ZADD', key, 0, TRUSTED, unpack(ARGV, first))
redis.call('PEXPIRE', key, ARGV[2])
return 1
