-- Takes commands into a partition's stream, many in one step: nobody can slip between a check and an append.
--
-- KEYS  1 the stream, 2 the worker's heartbeat, then one rate limit key for each command: the stream's own
--       if the command counts against nobody's limit
-- ARGV  1 the kinds of the commands, a letter each,
--       2 the greatest length of the stream for orders and 3 for other commands,
--       4 the rate limit of orders and 5 that of cancels, 6 its milliseconds (0: off),
--       7 the keys that the server may hold before new clients are no longer counted, then one command each
-- Kinds: 'o' an order, 'c' another command: a cancel, or an operator's. 'O' and 'C' count against the limit of
--       orders or of cancels and append nothing; their command is empty.
-- Returns three integers for each command: verdict, requests remaining, milliseconds until more are allowed.
-- Verdicts: 0 taken, 1 rate limited, 2 queue full, 3 nobody is matching, 4 the server refused the append.
--
-- The limit is a sliding window counter: the last full window counts for the share of it that still lies
-- within one window's length of now, as described in "How we built rate limiting capable of scaling to
-- millions of domains" (Cloudflare, 2017). Two counters a client, whatever the limit is.
--
-- A server that has no memory left refuses the append of this script. With the flag that orders/gateway/admission.py
-- puts before it for cancels, it does not.

local stream, heartbeat = KEYS[1], KEYS[2]
local kinds = ARGV[1]
local length_max = {o = tonumber(ARGV[2]), c = tonumber(ARGV[3])}
local limits = {o = tonumber(ARGV[4]), c = tonumber(ARGV[5])}
limits.O, limits.C = limits.o, limits.c
local window, keys_max = tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local matching = redis.call('EXISTS', heartbeat) == 1
local length = redis.call('XLEN', stream)
local answer = {}

local function counters(key)
    local index = math.floor(now / window)
    local stored = redis.call('HMGET', key, 'index', 'current', 'previous')
    local age = index - (tonumber(stored[1]) or index)
    local current, previous = tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
    if age == 1 then current, previous = 0, current elseif age ~= 0 then current, previous = 0, 0 end
    return index, current, previous, not stored[1]
end

-- Milliseconds until one more request fits.
local function wait(limit, current, previous, elapsed)
    if current < limit then
        return math.ceil(window * (1 - (limit - current - 1) / previous)) - elapsed
    end
    return (window - elapsed) + math.ceil(window * (1 - (limit - 1) / current))
end

for number = 1, #kinds do
    local verdict, remaining, reset = 0, 0, 0
    local kind = string.sub(kinds, number, number)
    local appends = length_max[kind]
    local limit = limits[kind]
    local key, index, current, previous, is_new = KEYS[number + 2]
    local limited = window > 0 and key ~= stream
    if appends and not matching then
        verdict = 3
    elseif appends and length >= appends then
        verdict = 2
    elseif limited then
        index, current, previous, is_new = counters(key)
        local elapsed = now - index * window
        local used = previous * (1 - elapsed / window) + current
        if used + 1 > limit then
            verdict, reset = 1, math.max(1, wait(limit, current, previous, elapsed))
        else
            remaining, reset = math.floor(limit - used - 1), window - elapsed
        end
    end
    if verdict == 0 and appends then
        if type(redis.pcall('XADD', stream, '*', 'c', ARGV[number + 7])) == 'table' then
            verdict = 4
        else
            length = length + 1
        end
    end
    if verdict == 0 and limited and not (is_new and redis.call('DBSIZE') >= keys_max) then
        -- If there is no memory for a count, the look-up that it is for goes uncounted. PEXPIRE would need none, and
        -- after the first write that needs none the server refuses no other: it must not come alone.
        local counted = redis.pcall('HSET', key, 'index', index, 'current', current + 1, 'previous', previous)
        if type(counted) == 'number' then redis.pcall('PEXPIRE', key, 2 * window) end
    end
    answer[#answer + 1] = verdict
    answer[#answer + 1] = remaining
    answer[#answer + 1] = reset
end
return answer
