"""Leases: who may run a slot that must never run twice.

A majority of a slot's own voters grants its lease to one pod for a while. The pod's kernel timer ends it when the lease
ends, and a voter grants to nobody else before, by its own clock: so two pods of one slot never run at once while clock
rates agree within 1 %.

`voter` is one voter, `lease` is one pod's side: plain state machines that know nothing of the rest of the core,
so that random walks can drive them alone. `keeper` and `desk` join them to the decision core, `reform` replaces voters
that are gone.
"""
