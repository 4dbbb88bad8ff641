#!lua flags=allow-oom
-- Announces that a worker matches a partition.
--
-- KEYS  1 the heartbeat
-- ARGV  1 the worker's name, 2 milliseconds until the heartbeat expires

return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
