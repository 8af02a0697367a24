-- Ends the token for good: no field brings it back.
obj.spec = obj.spec or {}
obj.spec.state = "Revoked"
return obj
