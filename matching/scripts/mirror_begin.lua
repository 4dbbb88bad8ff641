#!lua flags=allow-oom
-- Begins to build a mirror beside the one that is read.
--
-- KEYS  1 build, 2 staged bids, 3 staged asks, 4 epoch
-- ARGV  1 the writer's epoch, 2 the build's name, 3 milliseconds that it is kept
-- Returns 0, or the epoch of a later writer, and then it has changed nothing.

local epoch = tonumber(redis.call('GET', KEYS[4]) or '0')
if epoch > tonumber(ARGV[1]) then return epoch end
redis.call('SET', KEYS[4], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 0
