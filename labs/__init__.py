"""The lab: machines in containers on one computer, joined to a mesh by the same playbooks that join real machines."""
