"""The Kubernetes schema of the kinds that are taken, and the check of an object against it."""

from beemesh_node.workloads.schema.validator import kinds, validate

__all__ = ["kinds", "validate"]
