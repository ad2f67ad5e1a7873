"""What a pod is given, and what can be done with it while it runs."""

from __future__ import annotations

import base64
import subprocess
from typing import Any

from tests.node.integration.grove import Grove, roaming
from tests.node.integration.manifests import IDLE
from tests.node.integration.waiting import until

_MEMORY = 64 << 20
_CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"colour": "teal", "app.conf": "depth = 3\n"},
}
_SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys"},
    "data": {"token": base64.b64encode(b"opensesame").decode()},
}
_PROBE = """
echo "colour=$COLOUR token=$TOKEN plain=$PLAIN"
cat /etc/settings/app.conf
cat /etc/keys/token; echo
stat -L -c 'mode=%a' /etc/keys/token
awk '$2 == "/etc/keys" {print "filesystem=" $3}' /proc/mounts
cat /work/order
cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes
cat
exit 7
"""


def test_a_pod_has_what_its_manifest_gives_it(grove: Grove) -> None:
    admin = grove.admin
    admin.apply(_CONFIG, _SECRET, _furnished())
    ran = admin.run("exec", "-i", "deployment/furnished", "--", "sh", "-c", _PROBE, code=7, stdin="typed\n")
    assert ran.out.splitlines() == [
        "colour=teal token=opensesame plain=yes",
        "depth = 3",
        "opensesame",
        "mode=600",
        "filesystem=tmpfs",
        "first",
        "second",
        "main",
        str(_MEMORY),
        "typed",
    ]
    assert admin.run("exec", "deployment/furnished", "-c", "absent", "--", "true", code=2).err.startswith("error: ")
    admin.delete("deployment/furnished")


def test_a_crashed_container_is_restarted_and_serves_once_its_probe_says_so(grove: Grove) -> None:
    admin = grove.admin
    script = f"""
    if ! test -e /work/crashed; then touch /work/crashed; echo before; echo first life; exit 3; fi
    echo another; echo second life; {IDLE}
    """
    work = {"volumes": [{"name": "work", "emptyDir": {}}]}
    mounts = [{"name": "work", "mountPath": "/work"}]
    gate = {"exec": {"command": ["test", "-e", "/tmp/open"]}, "periodSeconds": 1}
    admin.apply(roaming("crashing", script=script, pod=work, volumeMounts=mounts, readinessProbe=gate), wait=False)

    def restarted() -> dict[str, Any] | None:
        for pod in grove.pods(admin, "-l", "app=crashing"):
            for status in pod["status"].get("containerStatuses", ()):
                if status["restartCount"] == 1 and "running" in status["state"]:
                    found: dict[str, Any] = status
                    return found
        return None

    status = until(restarted, "the container runs again")
    assert status is not None
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert not status["ready"]
    late = admin.run("rollout", "status", "deployment/crashing", "--timeout", "2s", code=4)
    assert "0 of 1 updated replicas are available" in late.err

    name = "deployment/crashing"
    assert admin.run("logs", name, "--previous").out.splitlines() == ["before", "first life"]
    assert admin.run("logs", name, "--previous", "--tail", 1).out.splitlines() == ["first life"]
    assert admin.run("logs", name, "--tail", 2).out.splitlines() == ["second life", "ready"]

    following = subprocess.Popen(admin.command("logs", "-f", name), stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout is not None
        assert [following.stdout.readline() for _ in range(3)] == ["another\n", "second life\n", "ready\n"]
        admin.run("exec", name, "--", "sh", "-c", "touch /tmp/open; echo written later > /proc/1/fd/1")
        assert following.stdout.readline() == "written later\n"
    finally:
        following.kill()
        following.wait()
    admin.run("rollout", "status", name, "--timeout", "40s")
    admin.delete(name)


def _furnished() -> dict[str, Any]:
    mount = {"name": "work", "mountPath": "/work"}
    first = roaming("furnished")["spec"]["template"]["spec"]["containers"][0]

    def initial(name: str) -> dict[str, Any]:
        # The first takes longer: the second has to wait for it.
        script = f"sleep 0.{3 if name == 'first' else 0}; echo {name} >> /work/order"
        return {**first, "name": name, "command": ["sh", "-c", script], "volumeMounts": [mount]}

    return roaming(
        "furnished",
        script=f"echo main >> /work/order; {IDLE}",
        pod={
            "initContainers": [initial("first"), initial("second")],
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o600}},
            ],
        },
        env=[
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "PLAIN", "value": "yes"},
        ],
        volumeMounts=[
            mount,
            {"name": "settings", "mountPath": "/etc/settings"},
            {"name": "keys", "mountPath": "/etc/keys", "readOnly": True},
        ],
        resources={"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": str(_MEMORY)}},
    )
