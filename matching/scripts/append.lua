#!lua flags=allow-oom
-- Appends an entry that the worker makes: a dead letter, or the one that aligns the stream's ids.
--
-- KEYS  1 the stream
-- ARGV  the arguments of XADD after the key

return redis.call('XADD', KEYS[1], unpack(ARGV))
