-- SPDX-License-Identifier: MIT
-- wrk script of vs_etcd.sh. Arguments: SYSTEM (etcd or crabcluster), OPERATION
-- (preload, write or read), number of keys. Writes and reads take keys uniformly at
-- random; preload writes each key once and leaves a file when it is through.

local threads = {}
local value = string.rep("v", 32)

function setup(thread)
    thread:set("id", #threads)
    table.insert(threads, thread)
    for _, each in ipairs(threads) do
        each:set("n_threads", #threads)
    end
end

local function etcd_write(key)
    return wrk.format("PUT", "/v2/keys/" .. key,
        {["Content-Type"] = "application/x-www-form-urlencoded"}, "value=" .. value)
end

local function etcd_read(key)
    return wrk.format("GET", "/v2/keys/" .. key .. "?quorum=true")
end

local function crabcluster_write(key)
    return wrk.format("POST", "/write", nil,
        '{"Set":{"key":"' .. key .. '","value":"' .. value .. '"}}')
end

local function crabcluster_read(key)
    return wrk.format("POST", "/read", nil, '"' .. key .. '"')
end

local function preload_next(write)
    return function()
        at = at + 1
        if at < last then
            return write("k" .. at)
        end
        if at == last + 1000 then -- by now the earlier ones have been answered
            io.open(done_file .. "." .. id, "w"):close()
        end
        return write("k" .. math.random(n_keys) - 1) -- until wrk is told to stop
    end
end

function init(args)
    local system, operation = args[1], args[2]
    n_keys, done_file = tonumber(args[3]), args[4]
    math.randomseed(os.time() * 16 + id)
    local write = system == "etcd" and etcd_write or crabcluster_write
    local read = system == "etcd" and etcd_read or crabcluster_read
    if operation == "preload" then
        at = math.floor(n_keys * id / n_threads) - 2 -- wrk makes one request as a trial
        last = math.floor(n_keys * (id + 1) / n_threads)
        request = preload_next(write)
    else
        local make = operation == "write" and write or read
        request = function() return make("k" .. math.random(n_keys) - 1) end
    end
end

-- rate, p50 and p99 in microseconds, answers that were errors
function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format("RESULT %.0f %.0f %.0f %d\n",
        summary.requests / summary.duration * 1e6,
        latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
