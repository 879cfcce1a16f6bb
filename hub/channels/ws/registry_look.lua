-- KEYS: register. ARGV: how lease keys begin (they are in the register's partition). {alive, dead}
local alive, dead = {}, {}
for _, instance in ipairs(redis.call('HKEYS', KEYS[1])) do
    if redis.call('EXISTS', ARGV[1] .. instance) == 1 then
        alive[#alive + 1] = instance
    else
        dead[#dead + 1] = instance
    end
end
return {alive, dead}
