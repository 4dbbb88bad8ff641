#!lua flags=allow-oom
-- Removes a mirror and an unfinished build of it, and frees their memory at once. Then readers use
-- the database.
--
-- KEYS  1 epoch, then the keys to remove
-- ARGV  1 the writer's epoch
-- Returns 1. If there is a later writer, returns 0 and changes nothing.

local epoch = tonumber(redis.call('GET', KEYS[1]) or '0')
if epoch > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', unpack(KEYS, 2))
return 1
