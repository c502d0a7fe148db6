-- SPDX-License-Identifier: MIT
-- wrk script of growth.py. Arguments: put or get, number of keys, bytes of a value. Keys
-- are those of tests/bench/load, uniformly random.

local id = 0

function setup(thread)
    thread:set("id", id)
    id = id + 1
end

local function host_line()
    return " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
end

local function path(n)
    return string.format("/v1/kv/key-%08d", n)
end

function init(args)
    local n_keys, bytes = tonumber(args[2]), tonumber(args[3])
    local first, last = "GET ", host_line() .. "\r\n"
    if args[1] == "put" then
        local letters = {}
        for i = 1, math.min(bytes, 4096) do -- what compresses badly and is quickly made
            letters[i] = string.char(97 + (i * 7919 + i * i) % 26)
        end
        local value = table.concat(letters):rep(math.max(1, bytes / 4096))
        first = "PUT "
        last = host_line() .. "Content-Length: " .. #value .. "\r\n\r\n" .. value
    end
    math.randomseed(os.time() * 16 + id)
    local random = math.random
    if #last > 60000 then -- putting these together would be most of the load's work
        local ready = {}
        for n = 0, n_keys - 1 do
            ready[n] = first .. path(n) .. last
        end
        request = function() return ready[random(n_keys) - 1] end
    else
        request = function() return first .. path(random(n_keys) - 1) .. last end
    end
end

-- requests, their rate per second, p50 and p99 in microseconds, answers that were errors
function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format("RESULT %d %.1f %.0f %.0f %d\n", summary.requests,
        summary.requests / summary.duration * 1e6,
        latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
