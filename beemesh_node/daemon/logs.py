"""Structured logs: one event a line, with the ids that follow one task across machines.

Names of workloads, contents of manifests and keys never appear in a log; `uid` and `task` lead from machine to machine.
"""

from __future__ import annotations

import logging
import sys

import structlog

from beemesh_node.daemon.config import LogConfig


def configure_logs(config: LogConfig) -> None:
    """Send the process's logs, and the libraries' warnings, to standard error in the configured form."""
    console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    level = getattr(logging, config.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # The libraries log each broken stream; what matters of it is counted and logged by network/ itself.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("beemesh").setLevel(level)
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
