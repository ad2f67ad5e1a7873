"""The names that Kubernetes allows, and those that are made here: revisions and pods.

Each `check_*` raises `ValueError` with the rule that the name breaks. Rules: k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import hashlib
import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-))*(?<!-)")
_ENV_NAME = re.compile(r"[ -<>-~]+")

GUARDIAN_LABEL = "node-role.kubernetes.io/guardian"
"""Shown of a machine that may be responsible for workloads, as Kubernetes shows roles of nodes."""

_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' alphabet for what it appends to names: no vowels, so no words, and nothing that looks alike."""
REVISION_LENGTH = 10
_SUFFIX_LENGTH = 5
_MAX_LABEL = 63


def _check(text: str, pattern: re.Pattern[str], longest: int, rule: str) -> None:
    if not text:
        raise ValueError("must not be empty")
    if len(text) > longest:
        raise ValueError(f"must be no more than {longest} characters")
    if not pattern.fullmatch(text):
        raise ValueError(f'"{text}" is not valid: {rule}')


def check_label(name: str) -> None:
    """A DNS-1123 label: the name of a namespace, container or volume."""
    rule = "use lower-case letters, digits and '-', and start and end with a letter or digit"
    _check(name, _LABEL, _MAX_LABEL, rule)


def check_subdomain(name: str) -> None:
    """A DNS-1123 subdomain: the name of a workload, ConfigMap or Secret."""
    rule = "use lower-case letters, digits, '-' and '.', and start and end with a letter or digit"
    _check(name, _SUBDOMAIN, 253, rule)


def check_label_key(key: str) -> None:
    """A qualified name: the key of a label or annotation, with or without a DNS prefix and a slash."""
    prefix, slash, name = key.rpartition("/")
    if slash:
        check_subdomain(prefix)
    rule = "use letters, digits, '-', '_' and '.', and start and end with a letter or digit"
    _check(name, _QUALIFIED, _MAX_LABEL, rule)


def check_label_value(value: str) -> None:
    """The value of a label; may be empty."""
    if value:
        rule = "use letters, digits, '-', '_' and '.', and start and end with a letter or digit"
        _check(value, _QUALIFIED, _MAX_LABEL, rule)


def check_config_key(key: str) -> None:
    """A key of a ConfigMap or Secret, which may become the name of a file."""
    _check(key, _CONFIG_KEY, 253, "use letters, digits, '-', '_' and '.'")
    if key == "." or key.startswith(".."):
        raise ValueError(f'"{key}" is not valid: must not be "." nor start with ".."')


def check_env_name(name: str) -> None:
    """The name of an environment variable: printable ASCII without "="."""
    _check(name, _ENV_NAME, 1024, "use printable ASCII characters other than '='")


def check_port_name(name: str) -> None:
    """An IANA service name, by which probes refer to ports."""
    _check(name, _PORT_NAME, 15, "use lower-case letters, digits and single '-', with at least one letter")


def safe_hash(data: bytes, length: int) -> str:
    """`length` characters (at most 40) of Kubernetes' alphabet for generated names, drawn from SHA-256 of `data`."""
    number = int.from_bytes(hashlib.sha256(data).digest(), "big")
    characters = []
    for _ in range(length):
        number, digit = divmod(number, len(_SAFE))
        characters.append(_SAFE[digit])
    return "".join(characters)


def workloads_of(pod: str) -> tuple[tuple[str, str], ...]:
    """The workloads, by kind and name, that a replica called `pod` can be of: NAME-REVISION-xxxxx, or NAME-SLOT."""
    return ("Deployment", pod.rsplit("-", 2)[0]), ("StatefulSet", pod.rsplit("-", 1)[0])


def pod_name(workload: str, uid: str, revision: str, slot: int, attempt: int) -> str:
    """The name of a replica's pod, `hello-7d4b8c9f5x-k2m9q`: the same wherever it is computed, at most 63 characters.

    `revision` is `WorkloadSpec.revision`. A long workload name is cut, as Kubernetes cuts it; the revision, which is
    salted with the uid, keeps the names of two such workloads apart.
    """
    suffix = safe_hash(f"{uid}/{slot}/{attempt}".encode(), _SUFFIX_LENGTH)
    stem = workload[: _MAX_LABEL - REVISION_LENGTH - _SUFFIX_LENGTH - 2].rstrip("-.")
    return f"{stem}-{revision}-{suffix}"
