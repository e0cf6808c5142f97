-- Sends the bodies of a file (see loadtests/wire.py), one after the other, each time with a fresh id: wrk -s wrk.lua URL -- FILE TAG PATH AUTHORIZATION
local requests = {}
local sent = 0
local tag

local function parts(text, mark)
  local found = {}
  local at = 1
  while true do
    local first, last = string.find(text, mark, at, true)
    if not first then
      found[#found + 1] = string.sub(text, at)
      return found
    end
    found[#found + 1] = string.sub(text, at, first - 1)
    at = last + 1
  end
end

function init(arguments)
  tag = arguments[2]
  local headers = { ["Host"] = wrk.headers["Host"], ["Content-Type"] = "application/json", ["Authorization"] = arguments[4] }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = parts(wrk.format("POST", arguments[3], headers, body), string.rep("@", 16))
  end
end

function request()
  sent = sent + 1
  return table.concat(requests[sent % #requests + 1], string.format("%s%010d", tag, sent))
end

function done(summary, latency, times)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "microseconds": %d, "refused": %d, "lost": %d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout
  ))
end
