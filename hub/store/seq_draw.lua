-- KEYS: counters. ARGV: ttl in ms, then how many numbers of each.
-- All or nothing: a counter that is not known here must be raised from the store before anything is drawn.
local last = {}
for i = 1, #KEYS do
    local counter = redis.call('GET', KEYS[i])
    if not known(counter) then
        return {}
    end
    last[i] = number_of(counter)
end
local first = {}
for i = 1, #KEYS do
    redis.call('SET', KEYS[i], OWN .. last[i] + ARGV[i + 1], 'PX', ARGV[1])
    first[i] = last[i] + 1
end
return first
