-- Plan 1: messages in Redis. A sequence (a user's queue, a conversation) is a sorted set of its members by number;
-- at score 0 it has at most one member '@<epoch>', the server life under which it was found not to have gone back, and
-- at score -1 at most one 'f<floor>', the highest number that is not kept any more.
--   queue          '<number>:<message or ->:<inbox number or nothing>'; beside it <key>:o, the overflow list (the same
--                  members, all lower), and <key>:i, the numbers of what came by the inbox, by inbox number
--   conversation   '<message>:<sender>:<flags>', c for control, t for tombstone, r for taken back
-- A body lives in the hash {partition}b under its message's id, and {partition}r counts who refers to it: each queue
-- that has it, and the conversation's history. Nobody refers to it: it goes, in the same script.
-- A body is <count of identities><16 bytes each><seq of its last change>:<length>:<what never changes><the rest>.
local MARK = '@' .. EPOCH

-- In step with plan1_wire.partition.
local function partition(name)
    local sum = 0
    for i = math.max(1, #name - 7), #name do
        sum = (sum * 31 + string.byte(name, i)) % 1024
    end
    return string.format('hub:p1:{p%04d}:', sum)
end

local function number_of(member)
    return tonumber(string.match(member, '^%d+'))
end

local function mark_of(key)
    return redis.call('ZRANGE', key, 0, 0, 'BYSCORE')[1]
end

local function plant_mark(key)
    local mark = mark_of(key)
    if mark ~= MARK then
        if mark then
            redis.call('ZREM', key, mark)
        end
        redis.call('ZADD', key, 0, MARK)
    end
end

local function floor_of(key)
    local found = redis.call('ZRANGE', key, -1, -1, 'BYSCORE')[1]
    return found and tonumber(string.sub(found, 2)) or 0
end

local function raise_floor(key, floor)
    if floor > floor_of(key) then
        redis.call('ZREMRANGEBYSCORE', key, -1, -1)
        redis.call('ZADD', key, -1, string.format('f%.0f', floor))
    end
end

-- The highest number in use; retention and healing leave a floor where nothing else is.
local function head_of(key)
    local top = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    return math.max(top and tonumber(top) or 0, floor_of(key))
end

local function forget_identity(identity, id)
    local home = partition(identity) .. 'k'
    local owner = redis.call('HGET', home, identity)
    if owner and (owner == id or string.sub(owner, 1, #id + 1) == id .. ':') then
        redis.call('HDEL', home, identity)
    end
end

-- The three parts of a body: its head up to the change, the seq of the change, what never changes, the rest.
local function parts_of(record)
    local from = 2 + 16 * string.byte(record, 1)
    local changed, size, start = string.match(record, '^(%d+):(%d+):()', from)
    local ends = start + tonumber(size)
    return string.sub(record, 1, from - 1), tonumber(changed), string.sub(record, start, ends - 1), string.sub(record, ends)
end

-- What a user wrote, as far as it has fallen out of the conversation and is still in somebody's queue.
local function strays_of(sender)
    return partition(sender) .. 'w:' .. sender
end

-- Of a body that goes: who looks for it elsewhere does not any more, and SQL hears of it where something there may hang
-- on it (reactions, pins, edits: they are noted; mentions; files).
local function tell_of(record, id, noted)
    local _, _, fixed, rest = parts_of(record)
    local room, number, sender = string.match(fixed, '^%[%d+,"[^"]*","([^"]*)",(%d+),(%d+)')
    if sender ~= '0' then
        redis.call('SREM', strays_of(sender), id)
    end
    if noted or string.find(rest, ',["', 1, true) or string.find(rest, '\\"media\\"', 1, true) then
        redis.call('SADD', partition('gone') .. 'gone', id .. ' ' .. number .. ' ' .. room)
    end
end

local function drop_body(id)
    local home = partition(id)
    local record = redis.call('HGET', home .. 'b', id)
    redis.call('HDEL', home .. 'r', id)
    if record then
        for n = 0, string.byte(record, 1) - 1 do
            forget_identity(string.sub(record, 2 + 16 * n, 17 + 16 * n), id)
        end
        tell_of(record, id, redis.call('HGET', home .. 'e', id))
        redis.call('HDEL', home .. 'b', id)
        redis.call('HDEL', home .. 'e', id)
    end
end

-- One who refers to it less; how many are left.
local function release(id)
    local left = redis.call('HINCRBY', partition(id) .. 'r', id, -1)
    if left <= 0 then
        drop_body(id)
    end
    return left
end

local function is_of_kind(record, kind)
    local from = 2 + 16 * string.byte(record, 1)
    local size, start = string.match(record, '^%d+:(%d+):()', from)
    local begins = '["' .. kind .. '"'
    start = start + tonumber(size)
    return string.sub(record, start, start + #begins - 1) == begins
end

local function put_together(head, changed, fixed, rest)
    -- Not by string.format, which ends at a zero byte.
    return head .. string.format('%.0f:%d:', changed, #fixed) .. fixed .. rest
end

-- Microseconds at which it was made.
local function made_at(record)
    local _, _, fixed = parts_of(record)
    return tonumber(string.match(fixed, '^%[(%d+)'))
end

-- The first place in an overflow list whose number is not lower; its length where there is none.
local function position(list, number)
    local low, high = 0, redis.call('LLEN', list)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if number_of(redis.call('LINDEX', list, middle)) < number then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

local function last_spilled(key)
    local last = redis.call('LINDEX', key .. ':o', -1)
    return last and number_of(last) or 0
end

-- The member of a queue under a number, wherever it is.
local function entry_of(key, number)
    local found = redis.call('ZRANGE', key, number, number, 'BYSCORE')[1]
    if not found and number <= last_spilled(key) then
        local list = key .. ':o'
        local there = redis.call('LINDEX', list, position(list, number))
        if there and number_of(there) == number then
            return there
        end
    end
    return found
end

local function message_of(member)
    local id, inbox = string.match(member, '^%d+:([^:]*):(%d*)$')
    return id ~= '-' and id or nil, inbox ~= '' and inbox or nil
end

-- A reference is gone: so is its place in the inbox, and the body if it was the last one.
local function let_go(key, member)
    local id, inbox = message_of(member)
    if inbox then
        redis.call('ZREM', key .. ':i', string.match(member, '^%d+'))
    end
    if id then
        release(id)
    end
end

-- Puts a member into a queue; one that is late goes to where it belongs in the overflow.
local function put_entry(key, number, member)
    if number > last_spilled(key) then
        redis.call('ZADD', key, number, member)
        return
    end
    local list = key .. ':o'
    redis.call('LINSERT', list, 'BEFORE', redis.call('LINDEX', list, position(list, number)), member)
end

-- What is above the capacity goes to the overflow, and what is above its bound is let go for good.
local function spill(key, capacity, bound)
    local list = key .. ':o'
    local excess = redis.call('ZCOUNT', key, '(0', '+inf') - capacity
    if excess > 0 then
        local some = redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, excess)
        for i = 1, #some do
            redis.call('RPUSH', list, some[i])
        end
        redis.call('ZREMRANGEBYSCORE', key, '(0', number_of(some[#some]))
    end
    local surplus = redis.call('LLEN', list) - bound
    if surplus > 0 then
        local gone = redis.call('LPOP', list, surplus)
        for i = 1, #gone do
            let_go(key, gone[i])
        end
        raise_floor(key, number_of(gone[#gone]))
    end
end

-- A conversation keeps its newest.
local function trim_history(key, bound)
    local excess = redis.call('ZCOUNT', key, '(0', '+inf') - bound
    if excess > 0 then
        local some = redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, excess, 'WITHSCORES')
        for i = 1, #some, 2 do
            local id, sender = string.match(some[i], '^([^:]+):(%d+):')
            if release(id) > 0 and sender ~= '0' then
                redis.call('SADD', strays_of(sender), id)
            end
        end
        redis.call('ZREMRANGEBYSCORE', key, '(0', some[#some])
        raise_floor(key, tonumber(some[#some]))
    end
end
