-- KEYS: tails. ARGV: keep, ttl in ms, then for each tail: how many entries, and of each its seq and its member, in
-- ascending order.
-- A tail that is not here begins without a mark, even at seq 1: this may be an old entry published again after the
-- tail was lost, and newer ones were appended before. An entry here twice is one member and changes nothing.
local keep, ttl = tonumber(ARGV[1]), ARGV[2]
local at = 3

local function lowest(key)
    return redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
end

-- Out of order or again, into a full tail. Lower than all is not added: it would leave a gap above it.
local function squeeze_in(key, seq, member)
    if redis.call('ZSCORE', key, member) then
        return
    end
    if redis.call('ZCARD', key) > keep then
        local first = lowest(key)
        if tonumber(seq) < tonumber(first[2]) then
            return
        end
        redis.call('ZREM', key, first[1])
    end
    redis.call('ZADD', key, seq, member)
end

for i = 1, #KEYS do
    local key, count = KEYS[i], tonumber(ARGV[at])
    local first, last = at + 1, at + 2 * count
    local excess = redis.call('ZCARD', key) + count - keep - 1
    if excess <= 0 then
        redis.call('ZADD', key, unpack(ARGV, first, last))
    elseif tonumber(ARGV[first]) > tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]) then
        -- All are new: room first, because a sorted set that was too large once never gets compact again.
        local bottom = redis.call('ZCOUNT', key, 0, 0)
        redis.call('ZREMRANGEBYRANK', key, bottom, bottom + excess - 1)
        redis.call('ZADD', key, unpack(ARGV, first, last))
    else
        for n = first, last, 2 do
            squeeze_in(key, ARGV[n], ARGV[n + 1])
        end
    end
    redis.call('PEXPIRE', key, ttl)
    at = last + 1
end
