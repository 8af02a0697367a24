-- Has the token not work until it is activated again.
obj.spec = obj.spec or {}
obj.spec.state = "Suspended"
return obj
