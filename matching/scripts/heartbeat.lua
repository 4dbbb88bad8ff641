#!lua flags=allow-oom
-- Says that a partition is matched.
--
-- KEYS  1 the heartbeat
-- ARGV  1 the worker, 2 milliseconds until it expires

return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
