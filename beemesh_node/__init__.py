"""Beemesh node: the daemon ``beemeshd`` and its command line ``beectl``."""

__version__ = "0.1.0"
