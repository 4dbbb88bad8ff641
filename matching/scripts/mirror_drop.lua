#!lua flags=allow-oom
-- Removes a mirror and what was built beside it: books are read from the database then. The memory is free at once.
--
-- KEYS  1 epoch, then those to remove
-- ARGV  1 the writer's epoch
-- Returns 1, or 0 if there is a later writer.

local epoch = tonumber(redis.call('GET', KEYS[1]) or '0')
if epoch > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', unpack(KEYS, 2))
return 1
