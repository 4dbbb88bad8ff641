#!lua flags=allow-oom
-- Appends an entry of the worker's own to a stream: a dead letter, or the one that aligns the ids.
--
-- KEYS  1 the stream
-- ARGV  the arguments of XADD after the key

return redis.call('XADD', KEYS[1], unpack(ARGV))
