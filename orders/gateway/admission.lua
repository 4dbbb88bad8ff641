-- Takes commands into a partition's stream, many in one step: nobody can slip between a check and an append.
--
-- KEYS  1 the stream, 2 the worker's heartbeat, then one rate limit key for each command: the stream's own
--       where the command counts against nobody's limit
-- ARGV  1 the greatest length of the stream, 2 requests and 3 milliseconds of the rate limit (0: off),
--       then one command each
-- Returns three integers for each command: verdict, requests remaining, milliseconds until more are allowed.
-- Verdicts: 0 taken, 1 rate limited, 2 queue full, 3 nobody is matching, 4 the server refused the append.
--
-- The limit is a sliding window counter: the last full window counts for the share of it that still lies
-- within one window's length of now, as described in "How we built rate limiting capable of scaling to
-- millions of domains" (Cloudflare, 2017). Two counters a client, whatever the limit is.

local stream, heartbeat = KEYS[1], KEYS[2]
local length_max, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
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
    if age == 1 then return index, 0, current end
    if age ~= 0 then return index, 0, 0 end
    return index, current, previous
end

-- Milliseconds until one more request fits.
local function wait(current, previous, elapsed)
    if current < limit then
        return math.ceil(window * (1 - (limit - current - 1) / previous)) - elapsed
    end
    return (window - elapsed) + math.ceil(window * (1 - (limit - 1) / current))
end

for number = 4, #ARGV do
    local verdict, remaining, reset = 0, 0, 0
    local key, index, current, previous = KEYS[number - 1]
    local limited = window > 0 and key ~= stream
    if not matching then
        verdict = 3
    elseif length >= length_max then
        verdict = 2
    elseif limited then
        index, current, previous = counters(key)
        local elapsed = now - index * window
        local used = previous * (1 - elapsed / window) + current
        if used + 1 > limit then
            verdict, reset = 1, math.max(1, wait(current, previous, elapsed))
        else
            remaining, reset = math.floor(limit - used - 1), window - elapsed
        end
    end
    if verdict == 0 then
        if type(redis.pcall('XADD', stream, '*', 'c', ARGV[number])) == 'table' then
            verdict = 4
        else
            length = length + 1
            if limited then
                redis.call('HSET', key, 'index', index, 'current', current + 1, 'previous', previous)
                redis.call('PEXPIRE', key, 2 * window)
            end
        end
    end
    answer[#answer + 1] = verdict
    answer[#answer + 1] = remaining
    answer[#answer + 1] = reset
end
return answer
