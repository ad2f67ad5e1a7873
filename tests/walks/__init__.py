"""Random walks: what must never happen is looked for in very many schedules of very bad luck."""
