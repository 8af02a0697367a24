-- Health of ApiTokens, TokenIssuers and ClusterTokenIssuers for Argo CD.
-- A token that is suspended or revoked as Git says is Healthy: Argo CD would hold later sync waves back for Suspended.
local function condition(type)
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == type then
      return condition
    end
  end
  return {}
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = "being deleted" }
end
if obj.status == nil then
  return { status = "Progressing", message = "not seen by the operator yet" }
end

local paused = condition("Paused")
if paused.status == "True" then
  return { status = "Suspended", message = paused.message }
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "not seen by the operator yet" }
end

local ready = condition("Ready")
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
if condition("Stalled").status == "True" then
  return { status = "Degraded", message = ready.message }
end
return { status = "Progressing", message = ready.message }
