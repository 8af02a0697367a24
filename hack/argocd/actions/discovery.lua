-- Which actions Argo CD offers for an ApiToken: those that its status says are possible.
local possible = (obj.status or {}).availableActions or {}
local actions = {}
for _, name in ipairs({ "rotate", "suspend", "activate", "revoke" }) do
  actions[name] = { disabled = possible[name] ~= true }
end
return actions
