"""What a person may give wrongly to beectl: each ends with its exit code and a message, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.node.integration.grove import Grove, machines_of, roaming
from tests.node.integration.mesh import BEECTL
from tests.node.integration.waiting import until

_ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
_UNKNOWN_KIND = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "wrong"}}
_TWICE = "\n---\n".join([json.dumps(roaming("wrong"))] * 2)
_MOST_SECONDS = 20.0
"""For one refusal, on a machine that has other things to do."""
_MOST_ERROR = 4000
"""Characters."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "no manifest in it: it is empty", id="empty"),
        pytest.param("{kind: [unclosed", "not YAML", id="not YAML"),
        pytest.param("\x00\x01\x7fELF", "not YAML: control characters", id="binary"),
        pytest.param("just some words", "expected a Kubernetes object", id="scalar"),
        pytest.param(_ALIASES, "more than 200,000 values, with aliases expanded", id="alias bomb"),
        pytest.param("[" * 100_000, "nested deeper than 64 levels", id="deep"),
        pytest.param("#" * (4 << 20) + "\n", "larger than 4,194,304 bytes", id="4 MiB"),
        pytest.param("a: b\n" * (20 << 20), "larger than 4,194,304 bytes", id="100 MB"),
        pytest.param(json.dumps(_UNKNOWN_KIND), 'kind "CronJob" (batch/v1) is not supported', id="unknown kind"),
        pytest.param(_TWICE, "document 2: Deployment default/wrong: given twice", id="duplicate names"),
        pytest.param(
            json.dumps(roaming("wrong", resource={})),
            'spec.template.spec.containers[0].resource: unknown field (did you mean "resources"?)',
            id="mistyped field",
        ),
        pytest.param(json.dumps(roaming("wrong", 10_001)), "spec.replicas: 10001 must be", id="replicas"),
    ],
)
def test_a_wrong_manifest_is_refused_before_anything_is_sent(tmp_path: Path, text: str, message: str) -> None:
    good, wrong = tmp_path / "good.yml", tmp_path / "wrong.yml"
    good.write_text(json.dumps(roaming("good")))
    wrong.write_text(text)
    began = time.monotonic()
    # There is no mesh in this context: had beectl tried to send the good one, it would say that.
    refused = _beectl("--dir", tmp_path, "apply", "-f", good, "-f", wrong)
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith(f"error: {wrong}: ")
    assert message in refused.stderr
    assert refused.stdout == ""
    assert len(refused.stderr) < _MOST_ERROR
    assert time.monotonic() - began < _MOST_SECONDS


def test_a_wrong_file_context_or_passphrase_is_named(grove: Grove, tmp_path: Path) -> None:
    absent = _beectl("apply", "-f", tmp_path / "absent.yml")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert f"{tmp_path / 'absent.yml'}: no such file or directory" in absent.stderr

    nowhere = _beectl("--dir", tmp_path / "nowhere", "get", "pods")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert f"{tmp_path / 'nowhere'} is no context" in nowhere.stderr

    context = tmp_path / "context"
    shutil.copytree(grove.root, context)
    (tmp_path / "right").write_text("correct horse\n")
    (tmp_path / "wrong").write_text("battery staple\n")
    changed = _beectl("--dir", context, "keys", "passphrase", BEEMESH_NEW_PASSPHRASE_FILE=tmp_path / "right")
    assert changed.returncode == 0, changed.stderr
    refused = _beectl("--dir", context, "get", "pods", BEEMESH_PASSPHRASE_FILE=tmp_path / "wrong")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "operator.key" in refused.stderr
    assert "passphrase" in refused.stderr
    opened = _beectl("--dir", context, "get", "machines", "-o", "name", BEEMESH_PASSPHRASE_FILE=tmp_path / "right")
    assert (opened.returncode, opened.stdout.split()) == (0, ["node/elm", "node/fir", "node/oak"]), opened.stderr


def test_ten_thousand_replicas_on_three_machines_wait_for_room(grove: Grove) -> None:
    admin = grove.admin
    # More than half of a machine: each has room for one.
    room = {"requests": {"cpu": f"{(os.cpu_count() or 1) * 600}m", "memory": "8Mi"}}
    late = admin.run(
        *("apply", "-f", "-", "--wait", "--timeout", "5s"),
        stdin=json.dumps(roaming("legion", 10_000, resources=room)),
        code=4,
    )
    assert "out of 10000 new replicas have been updated" in late.err
    until(lambda: len(grove.containers()) == 3, "each machine has one", why=grove.containers)
    shortage = "9997 of 10000 replicas wait: 0/3 machines can take it: 3 lack CPU"
    until(lambda: shortage in admin.run("describe", "deployment", "legion").out, "describe tells what is lacking")
    began = time.monotonic()
    assert machines_of(grove.pods(admin)) == ["elm", "fir", "oak"]
    assert time.monotonic() - began < _MOST_SECONDS
    for machine in grove.machines:
        assert machine.status() is not None, f"{machine.name} does not answer at once"
    admin.delete("deployment/legion")
    assert grove.containers() == {}


def _beectl(*words: object, **environment: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BEECTL, *map(str, words)],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
