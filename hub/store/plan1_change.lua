-- Gives a body another rest, at the number of the message that says so. An edit ('e') keeps the kind and what is
-- answered or forwarded; of two the later holds, and what was taken back (its kind is `recalled`) stays so. The message
-- that said so is remembered, because it holds the text too: when the body is taken back ('r'), or was already, all
-- that it says is `left`. That something hangs on it in SQL ('h') is noted in the same place.
local function say(id, rest)
    local home = partition(id) .. 'b'
    local record = redis.call('HGET', home, id)
    if record then
        local head, changed, fixed = parts_of(record)
        redis.call('HSET', home, id, put_together(head, changed, fixed, rest))
    end
end

local function change_body(id, seq, rest, how, by, left, room)
    local home = partition(id)
    local record = redis.call('HGET', home .. 'b', id)
    if not record then
        return
    end
    local head, changed, fixed, old = parts_of(record)
    local conversation, number = string.match(fixed, '^%[%d+,"[^"]*","([^"]*)",(%d+)')
    if room ~= '' and string.sub(room, -#conversation - 3) ~= ':c:' .. conversation then
        return
    end
    if how == 'h' then
        redis.call('HSETNX', home .. 'e', id, '')
        return
    elseif how == 'e' then
        redis.call('HSET', home .. 'e', id, (redis.call('HGET', home .. 'e', id) or '') .. by .. ',')
        if string.sub(old, 1, 11) == '["recalled"' then
            say(by, left)
            return
        elseif seq <= changed then
            return
        end
        rest = string.match(old, '^%["[^"]*"') .. rest .. string.match(old, ',[^,]*,[^,]*%]$')
    elseif how == 'r' then
        for edit in string.gmatch(redis.call('HGET', home .. 'e', id) or '', '[^,]+') do
            say(edit, left)
        end
        redis.call('HSETNX', home .. 'e', id, '')
        -- The conversation knows it without looking at bodies: it is not unread any more.
        local member = redis.call('ZRANGE', room, number, number, 'BYSCORE')[1]
        if member and string.sub(member, 1, #id + 1) == id .. ':' and not string.find(member, ':%a*r$') then
            redis.call('ZREM', room, member)
            redis.call('ZADD', room, number, member .. 'r')
        end
    end
    redis.call('HSET', home .. 'b', id, put_together(head, math.max(seq, changed), fixed, rest))
end
