-- KEYS: the life of this server, then sequences. Of each the highest number in use, or -1 where it may have gone back;
-- nothing where this server's life has not begun.
local life = redis.call('GET', KEYS[1])
if not life or string.sub(life, 1, #EPOCH) ~= EPOCH then
    return {}
end
local virgin = string.sub(life, -2) == ':1'
local heads = {}
for i = 2, #KEYS do
    local mark = mark_of(KEYS[i])
    if mark == MARK or (virgin and not mark) then
        heads[i - 1] = head_of(KEYS[i])
    else
        heads[i - 1] = -1
    end
end
return heads
