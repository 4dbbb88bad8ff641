#!lua flags=allow-oom
-- Appends what the worker itself writes to a stream: a dead letter, or the mark that aligns it.
--
-- KEYS  1 the stream
-- ARGV  what follows the key in XADD

return redis.call('XADD', KEYS[1], unpack(ARGV))
