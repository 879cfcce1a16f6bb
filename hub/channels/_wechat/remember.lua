-- KEYS: one. ARGV: value, ttl in ms. Another value that is there, or nil where ours is there now.
-- It may be run twice by one caller, who finds its own value then.
local before = redis.call('GET', KEYS[1])
if before and before ~= ARGV[1] then
    return before
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
