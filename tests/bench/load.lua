-- SPDX-License-Identifier: MIT
-- wrk script of compare.sh and limits.sh: one kind of request, keys uniformly random.
-- Arguments: OPERATION, number of keys, and to write each key once instead: a file
-- name; FILE.0, FILE.1, ... are made when the threads are through. Requests are put
-- together by hand, because the load shares the machine with what it measures.

local value = string.rep("v", 32)
local batch_size = 100

local threads = {}

function setup(thread)
    thread:set("id", #threads)
    table.insert(threads, thread)
    for _, each in ipairs(threads) do
        each:set("n_threads", #threads)
    end
end

-- ---- keys: "key" and six digits, plain and in base64, put together from halves ----

local function base64_3(text)
    local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    local a, b, c = text:byte(1, 3)
    local n, out = a * 65536 + b * 256 + c, ""
    for _ = 1, 4 do
        local digit = n % 64 + 1
        out = letters:sub(digit, digit) .. out
        n = math.floor(n / 64)
    end
    return out
end

local function base64(text) -- of a multiple of three bytes and two more, or none
    local out = text:sub(1, #text - #text % 3):gsub("...", base64_3)
    if #text % 3 == 2 then
        out = out .. base64_3(text:sub(-2) .. "\0"):sub(1, 3) .. "="
    end
    return out
end

local plain, encoded = {}, {}
for n = 0, 999 do
    plain[n] = string.format("%03d", n)
    encoded[n] = base64_3(plain[n])
end
local encoded_head = base64("key")

local function plain_key(n)
    local low = n % 1000
    return "key" .. plain[(n - low) / 1000] .. plain[low]
end

local function base64_key(n)
    local low = n % 1000
    return encoded_head .. encoded[(n - low) / 1000] .. encoded[low]
end

-- ---- requests: a function that makes one of a key's number ----

local function head(method, path)
    return method .. " " .. path
end

local function tail(body_bytes, extra)
    local host = " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\n" .. (extra or "")
    return host .. (body_bytes and "Content-Length: " .. body_bytes .. "\r\n\r\n" or "\r\n")
end

-- The key is in the path.
local function by_path(method, before, after, body, extra)
    local first = head(method, before)
    local last = (after or "") .. tail(body and #body, extra) .. (body or "")
    return function(n) return first .. plain_key(n) .. last end
end

-- The key is in a JSON body.
local function by_body(path, before, key, after)
    local first = head("POST", path) .. tail(#before + #key(0) + #after) .. before
    return function(n) return first .. key(n) .. after end
end

-- Several keys, each in an element of a JSON array. No key comes twice, because etcd refuses
-- that: each is from a part of its own, and the parts take turns in a mixed order.
local function by_batch(path, before, element, key, between, after)
    local parts = {}
    for i = 1, batch_size do
        parts[i] = ""
    end
    local function request_of(number_of)
        for i = 1, batch_size do
            parts[i] = element .. key(number_of(i))
        end
        local body = before .. table.concat(parts, between) .. after
        return head("POST", path) .. tail(#body) .. body
    end
    return request_of
end

local form = "Content-Type: application/x-www-form-urlencoded\r\n"
local encoded_value = base64(value)

local singles = {
    ["v2-put"] = function() return by_path("PUT", "/v2/keys/", "", "value=" .. value, form) end,
    ["v2-qget"] = function() return by_path("GET", "/v2/keys/", "?quorum=true") end,
    ["v2-get"] = function() return by_path("GET", "/v2/keys/") end,
    ["v3-put"] = function()
        return by_body("/v3/kv/put", '{"key":"', base64_key, '","value":"' .. encoded_value .. '"}')
    end,
    ["v3-range"] = function() return by_body("/v3/kv/range", '{"key":"', base64_key, '"}') end,
    ["v3-stale"] = function()
        return by_body("/v3/kv/range", '{"key":"', base64_key, '","serializable":true}')
    end,
    ["classic-set"] = function()
        return by_body("/write", '{"Set":{"key":"', plain_key, '","value":"' .. value .. '"}}')
    end,
    ["classic-read"] = function() return by_body("/read", '"', plain_key, '"') end,
    ["v1-put"] = function() return by_path("PUT", "/v1/kv/", "", value) end,
    ["v1-get"] = function() return by_path("GET", "/v1/kv/") end,
    ["v1-lease"] = function() return by_path("GET", "/v1/kv/", "?consistency=lease") end,
    ["v1-stale"] = function() return by_path("GET", "/v1/kv/", "?consistency=stale") end,
    ["constant"] = function() return by_path("GET", "/") end,
}

local batches = {
    ["v3-batch"] = function()
        local between = '","value":"' .. encoded_value .. '"}}'
        return by_batch("/v3/kv/txn", '{"success":[', '{"requestPut":{"key":"', base64_key,
            between .. ",", between .. "]}")
    end,
    ["classic-batch"] = function()
        local between = '","value":"' .. value .. '"}}'
        return by_batch("/write", '{"Batch":[', '{"Set":{"key":"', plain_key, between .. ",",
            between .. "]}")
    end,
}

-- ---- which keys ----

local function at_random(make, n_keys)
    local random = math.random
    return function() return make(random(n_keys) - 1) end
end

local function batch_at_random(make, n_keys)
    local part, random = math.floor(n_keys / batch_size), math.random
    local function number(i) return i * 37 % batch_size * part + random(part) - 1 end
    return function() return make(number) end
end

-- Each of this thread's share once, and then the first ones again until wrk is told to stop.
-- wrk makes a request that it does not send to begin with; it is made again.
local function each_once(make, n_units, surplus, done_file)
    local first = math.floor(n_units * id / n_threads)
    local last = math.floor(n_units * (id + 1) / n_threads)
    local at = first - 2
    return function()
        at = at + 1
        if at == last + surplus then -- by now the earlier ones have been answered
            io.open(done_file .. "." .. id, "w"):close()
        end
        return make(at < first and first or at < last and at or first)
    end
end

function init(args)
    local operation, n_keys, done_file = args[1], tonumber(args[2]), args[3]
    math.randomseed(os.time() * 16 + id)
    local single, batch = singles[operation], batches[operation]
    if single and done_file then
        request = each_once(single(), n_keys, 1000, done_file)
    elseif single then
        request = at_random(single(), n_keys)
    elseif done_file then
        local make = batch()
        request = each_once(function(unit)
            return make(function(i) return unit * batch_size + i - 1 end)
        end, math.floor(n_keys / batch_size), 300, done_file)
    else
        request = batch_at_random(batch(), n_keys)
    end
end

-- requests per second; p50, p99 and longest in microseconds; answers that were errors
function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format("RESULT %.0f %.0f %.0f %.0f %d\n",
        summary.requests / summary.duration * 1e6,
        latency:percentile(50), latency:percentile(99), latency.max,
        e.connect + e.read + e.write + e.status + e.timeout))
end
