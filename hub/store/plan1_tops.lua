-- KEYS: sequences. The highest number in use of each, whether or not it may have gone back.
local found = {}
for i = 1, #KEYS do
    found[i] = head_of(KEYS[i])
end
return found
