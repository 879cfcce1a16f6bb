-- A counter is '<epoch>:<last number drawn>', with the epoch under which it was last raised from the store. One of
-- another epoch may have gone back, alone or with all others, to before numbers that were committed since: what is
-- drawn from it could fall into a gap below them, where no key is taken and the store cannot object. So nothing is
-- drawn from it before it has been raised.
local OWN = EPOCH .. ':'

local function known(counter)
    return counter and string.sub(counter, 1, #OWN) == OWN
end

-- All epochs are of one length.
local function number_of(counter)
    return tonumber(string.sub(counter, #OWN + 1))
end
