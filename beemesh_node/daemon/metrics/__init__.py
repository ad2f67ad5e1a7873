"""What this machine does, in numbers, for Prometheus: on the loopback interface, and only where it is asked for."""
