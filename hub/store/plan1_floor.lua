-- KEYS: a sequence. The highest number that is not kept any more.
return floor_of(KEYS[1])
