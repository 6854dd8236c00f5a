-- The health of a ControlPlaneNetworkPolicy: what kstatus says of it too.
-- Exactly one of the conditions Ready, Reconciling and Stalled is True.
local health = {status = "Progressing", message = "Waiting for the operator"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "Being deleted"
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready, stalled, reconciling = conditions.Ready, conditions.Stalled, conditions.Reconciling
if ready ~= nil then
  health.message = ready.reason .. ": " .. ready.message
end
if obj.metadata.deletionTimestamp ~= nil then
  return health
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "Waiting for the operator to observe the latest change"
  return health
end
if reconciling ~= nil and reconciling.status == "True" then
  return health
end
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
elseif ready ~= nil and ready.status == "True" then
  health.status = "Healthy"
  if ready.reason == "Suspended" then
    health.status = "Suspended"
  end
end
return health
