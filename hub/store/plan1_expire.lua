-- KEYS: a conversation. ARGV: a message, its member and its body as a tombstone ('' each where none is to become one),
-- then messages that go, with whatever refers to them. The newest stays, as that tombstone, for its number. Answers
-- how many went.
local key = KEYS[1]
local top = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
local highest, gone = 0, 0
local going = {}
for i = 4, #ARGV do
    going[ARGV[i]] = true
end
local members = redis.call('ZRANGE', key, '(0', '+inf', 'BYSCORE', 'LIMIT', 0, #ARGV, 'WITHSCORES')
for i = 1, #members, 2 do
    local id = string.match(members[i], '^[^:]+')
    if going[id] and members[i + 1] ~= top[2] then
        redis.call('ZREM', key, members[i])
        drop_body(id)
        highest = tonumber(members[i + 1])
        gone = gone + 1
    end
end
if highest > 0 then
    raise_floor(key, highest)
end
local stays = string.match(top[1] or '', '^[^:]+')
if stays and stays == ARGV[1] then
    local home = partition(stays) .. 'b'
    local head = parts_of(redis.call('HGET', home, stays))
    for n = 0, string.byte(head, 1) - 1 do
        forget_identity(string.sub(head, 2 + 16 * n, 17 + 16 * n), stays)
    end
    redis.call('ZREM', key, top[1])
    redis.call('ZADD', key, top[2], ARGV[2])
    redis.call('HSET', home, stays, ARGV[3])
end
return gone
