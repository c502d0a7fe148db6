-- SPDX-License-Identifier: MIT
-- wrk: POST /read, keys uniformly random over one million.
request = function()
    return wrk.format("POST", "/read", nil, string.format('"key-%07d"', math.random(0, 999999)))
end
