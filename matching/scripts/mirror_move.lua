#!lua flags=allow-oom
-- Moves a book's mirror from one sequence to the next, completely or not at all.
--
-- KEYS  1 sequence, 2 bids, 3 asks, 4 epoch
-- ARGV  1 the sequence that the mirror must have, 2 the new one, 3 the writer's epoch, then for
--       each level: 'b' or 'a', price in ticks, member ('' if the level is gone)
-- Returns 1. Returns 0 if the mirror must be rebuilt, because it has another sequence or a key
-- holds the wrong type of value.

local function move()
    for i = 4, #ARGV, 3 do
        local key = ARGV[i] == 'b' and KEYS[2] or KEYS[3]
        redis.call('ZREMRANGEBYSCORE', key, ARGV[i + 1], ARGV[i + 1])
        if ARGV[i + 2] ~= '' then redis.call('ZADD', key, ARGV[i + 1], ARGV[i + 2]) end
    end
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SET', KEYS[4], ARGV[3])
end

local sequence = redis.pcall('GET', KEYS[1])
if sequence ~= ARGV[1] then return 0 end
if not pcall(move) then
    redis.call('UNLINK', KEYS[1]) -- Without a sequence, no reader uses the half-moved mirror.
    return 0
end
return 1
