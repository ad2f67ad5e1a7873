"""Kubernetes manifests in and out, and the pod model that machines run."""
