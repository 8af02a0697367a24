-- Has a suspended token work again.
obj.spec = obj.spec or {}
obj.spec.state = "Active"
return obj
