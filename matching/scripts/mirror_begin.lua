#!lua flags=allow-oom
-- Begins to build a new mirror. The current mirror stays in place.
--
-- KEYS  1 build, 2 staged bids, 3 staged asks, 4 epoch
-- ARGV  1 the writer's epoch, 2 the build's name, 3 milliseconds until the build expires
-- Returns 0. If there is a later writer, returns its epoch and changes nothing.

local epoch = tonumber(redis.call('GET', KEYS[4]) or '0')
if epoch > tonumber(ARGV[1]) then return epoch end
redis.call('SET', KEYS[4], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 0
