-- SPDX-License-Identifier: MIT
-- wrk: POST /write of a 32-byte value, keys uniformly random over one million.
local value = string.rep("v", 32)
request = function()
    local body = string.format('{"Set":{"key":"key-%07d","value":"%s"}}', math.random(0, 999999), value)
    return wrk.format("POST", "/write", nil, body)
end
