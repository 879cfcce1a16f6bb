-- KEYS: a queue. ARGV: limit. Its lowest references go, the newest too. Answers how many.
local key, list, gone, floor = KEYS[1], KEYS[1] .. ':o', 0, 0
while gone < tonumber(ARGV[1]) do
    local spilled = redis.call('LPOP', list)
    local member = spilled or redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not member then
        break
    end
    if not spilled then
        redis.call('ZREM', key, member)
    end
    let_go(key, member)
    floor = number_of(member)
    gone = gone + 1
end
if floor > 0 then
    raise_floor(key, floor)
end
return gone
