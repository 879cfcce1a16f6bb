-- KEYS: a queue. ARGV: before (microseconds), limit. Its references before the first living one go, the newest stays.
-- Answers how many went, and messages (as id and body) whose bodies went with them because they are from before that.
local key, before, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local list = key .. ':o'
local newest = redis.call('ZRANGE', key, -1, -1)[1]
local gone, dropped, floor = 0, {}, 0
while gone < limit do
    local spilled = redis.call('LINDEX', list, 0)
    local member = spilled or redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not member or member == newest then
        break
    end
    local id = message_of(member)
    local body = id and redis.call('HGET', partition(id) .. 'b', id)
    local closed = body and is_of_kind(body, 'tombstone')
    if body and (closed or made_at(body) >= before) then
        break
    end
    if spilled then
        redis.call('LPOP', list)
    else
        redis.call('ZREM', key, member)
    end
    if body then
        dropped[#dropped + 1] = id
        dropped[#dropped + 1] = body
        drop_body(id)
    end
    let_go(key, member)
    floor = number_of(member)
    gone = gone + 1
end
if floor > 0 then
    raise_floor(key, floor)
end
return {gone, dropped}
