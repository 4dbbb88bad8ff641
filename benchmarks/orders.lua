-- wrk's script. It sends prepared requests one after the other, and prints one line of JSON at the end.
--
-- The environment variable BENCH_REQUESTS names a file with the path and the body of one request in each
-- line. If BENCH_AGAIN is not empty, the requests are repeated. Otherwise the script fails if none is left.
--
-- The script reads no answers, because this would double its time. wrk itself counts answers that are
-- neither 2xx nor 3xx.

function init(args)
    requests = {}
    for line in io.lines(os.getenv('BENCH_REQUESTS')) do
        local path, body = line:match('^(%S+) (.*)$')
        table.insert(requests, wrk.format('POST', path, {['Content-Type'] = 'application/json'}, body))
    end
    sent = 0
    again = os.getenv('BENCH_AGAIN') ~= ''
end

function request()
    sent = (again and sent == #requests) and 1 or sent + 1
    return requests[sent]
end

function done(summary, latency, numbers)
    local errors = summary.errors
    io.write(string.format(
        '{"seconds":%f,"right":%d,"wrong":%d,"p50":%f,"p99":%f,"max":%f}\n',
        summary.duration / 1e6, summary.requests - errors.status,
        errors.status + errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3
    ))
end
