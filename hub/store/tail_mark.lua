-- A tail is a sorted set of entries by user_seq, and at score 0 at most one member that says what they are worth:
--   @<epoch>          complete from the lowest to the highest, as verified under this epoch
--   ?<epoch>:<nonce>  not verified, but nothing that was appended since this was planted has been lost
-- What an earlier server was told (another epoch) counts for nothing, though its entries are true: they had been
-- committed. A tail is kept at keep + 1 members, so that it stays one compact allocation.
local TRUSTED = '@' .. EPOCH
local CLAIM = '?' .. EPOCH .. ':'

local function mark_of(key)
    return redis.call('ZRANGE', key, 0, 0, 'BYSCORE')[1]
end

-- Plants a claim, or finds the one that is there, and tells its nonce. Whoever reads the store now and brings the
-- claim back can be believed: if the tail was lost in between, together with what had been appended to it after the
-- store was read, then the claim is lost too.
local function claim(key, mark, nonce, keep, patience)
    if mark and string.sub(mark, 1, #CLAIM) == CLAIM then
        return string.sub(mark, #CLAIM + 1)
    end
    if mark then
        redis.call('ZREM', key, mark)
    elseif redis.call('ZCARD', key) > tonumber(keep) then
        redis.call('ZREMRANGEBYRANK', key, 0, 0)
    end
    redis.call('ZADD', key, 0, CLAIM .. nonce)
    if redis.call('PTTL', key) < 0 then
        redis.call('PEXPIRE', key, patience)
    end
    return nonce
end
