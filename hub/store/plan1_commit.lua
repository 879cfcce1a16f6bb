-- KEYS: the life of this server, the batches, then conversations, then queues. ARGV: how many conversations, and the
-- batch (msgpack), and then the bytes to which it points by their places. In the batch: b its id, n a nonce of this attempt, at its time, refs, p what SQL is to have, by = [until when in
-- ms of this clock or 0, capacity of a queue, of its overflow, of a history], m = messages [id, body, references, which
-- conversation, number, member, identities [key, owner, stale before or '']], q = of each queue its references
-- [number, member, inbox number or 0] ascending, e = changes [message, number, rest, how, by which message,
-- what an edit says that was taken back, which conversation], done = batches published.
-- All is looked at before anything is written. Answers a word, and this clock.
local batch = cmsgpack.unpack(ARGV[2])
local rooms = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local batches = KEYS[2]
local life = redis.call('GET', KEYS[1])
local virgin = life and string.sub(life, -2) == ':1'
local seen = {}

local function once(name)
    if seen[name] then
        return false
    end
    seen[name] = true
    return true
end

-- Nothing is put into a sequence of which it is not known that it has not gone back.
local function verified(key)
    local mark = mark_of(key)
    return mark == MARK or (virgin and not mark)
end

local function number_taken(key, number)
    local top = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
    if not top or number > tonumber(top) then
        return number <= floor_of(key)
    end
    return number <= floor_of(key) or entry_of(key, number) ~= nil
end

local function identity_taken(identity)
    if not once('i' .. ARGV[identity[1]]) then
        return true
    end
    local owner = redis.call('HGET', partition(ARGV[identity[1]]) .. 'k', ARGV[identity[1]])
    if not owner or identity[3] == '' then
        return owner and true
    end
    local at = string.match(owner, ':(%d+)$')
    return not at or tonumber(at) >= tonumber(identity[3])
end

local function refusal()
    local known = redis.call('HGET', batches .. ':refs', batch.b)
    if known then
        return string.sub(known, 1, #batch.n) == batch.n and 'DONE' or 'TAKEN'
    end
    if not life or string.sub(life, 1, #EPOCH) ~= EPOCH then
        return 'LIFE'
    end
    if batch.by[1] > 0 and now > batch.by[1] then
        return 'LATE'
    end
    for i = 3, #KEYS do
        if not verified(KEYS[i]) then
            return 'TAKEN'
        end
    end
    for _, m in ipairs(batch.m) do
        local room = KEYS[2 + m[4]]
        if not once('m' .. m[1]) or redis.call('HEXISTS', partition(m[1]) .. 'b', m[1]) == 1 then
            return 'TAKEN'
        end
        if not once('c' .. m[4] .. ':' .. m[5]) or number_taken(room, m[5]) then
            return 'TAKEN'
        end
        for _, identity in ipairs(m[7]) do
            if identity_taken(identity) then
                return 'TAKEN'
            end
        end
    end
    for i, entries in ipairs(batch.q) do
        local before = 0
        for _, e in ipairs(entries) do
            if e[1] <= before or number_taken(KEYS[2 + rooms + i], e[1]) then
                return 'TAKEN'
            end
            before = e[1]
        end
    end
end

local word = refusal()
if word then
    return {word, now}
end

for _, m in ipairs(batch.m) do
    local room, home = KEYS[2 + m[4]], partition(m[1])
    redis.call('HSET', home .. 'b', m[1], ARGV[m[2]])
    redis.call('HSET', home .. 'r', m[1], m[3] + 1)
    for _, identity in ipairs(m[7]) do
        redis.call('HSET', partition(ARGV[identity[1]]) .. 'k', ARGV[identity[1]], identity[2])
    end
    redis.call('ZADD', room, m[5], m[6])
end
for i, entries in ipairs(batch.q) do
    local key = KEYS[2 + rooms + i]
    local spilled = last_spilled(key)
    for _, e in ipairs(entries) do
        if e[1] > spilled then
            redis.call('ZADD', key, e[1], e[2])
        else
            put_entry(key, e[1], e[2])
        end
        if e[3] > 0 then
            redis.call('ZADD', key .. ':i', e[3], e[1])
        end
    end
    plant_mark(key)
    spill(key, batch.by[2], batch.by[3])
end
for i = 3, 2 + rooms do
    plant_mark(KEYS[i])
    trim_history(KEYS[i], batch.by[4])
end
for _, e in ipairs(batch.e) do
    change_body(e[1], e[2], ARGV[e[3]], e[4], e[5], ARGV[e[6]], KEYS[2 + e[7]])
end
redis.call('ZADD', batches, batch.at, batch.b)
redis.call('ZADD', batches .. ':unmarked', batch.at, batch.b)
redis.call('HSET', batches .. ':refs', batch.b, batch.n .. ARGV[batch.refs])
if ARGV[batch.p] ~= '' then
    redis.call('HSET', batches .. ':pending', batch.b, ARGV[batch.p])
end
for _, id in ipairs(batch.done) do
    redis.call('ZREM', batches .. ':unmarked', id)
end
return {'OK', now}
