-- The last line that wrk prints, for sample.py.
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('{"requests": %d, "us": %d, "p99_us": %d, "errors": %d}\n',
        summary.requests, summary.duration, latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
