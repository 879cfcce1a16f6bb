-- ARGV: messages. Their bodies.
local found = {}
for i = 1, #ARGV do
    found[i] = redis.call('HGET', partition(ARGV[i]) .. 'b', ARGV[i])
end
return found
