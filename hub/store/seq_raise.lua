-- KEYS: counters. ARGV: ttl in ms, the epoch under which the store was asked ('' for this one), then the least that
-- each must be. The number of another epoch counts too: it was drawn, and whoever drew it may yet commit it.
-- What was committed since by numbers of an earlier server, the answer of the store lacks: then nothing is believed.
if ARGV[2] ~= '' and ARGV[2] ~= EPOCH then
    return
end
for i = 1, #KEYS do
    local counter = redis.call('GET', KEYS[i])
    local last = counter and number_of(counter) or 0
    local least = math.max(last, tonumber(ARGV[i + 2]))
    if not known(counter) or last < least then
        redis.call('SET', KEYS[i], OWN .. least, 'PX', ARGV[1])
    end
end
