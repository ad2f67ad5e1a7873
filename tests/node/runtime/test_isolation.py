"""What a pod asks for is what its processes get, seen from inside."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from beemesh_node.runtime import Runtime, RuntimeConfig, RuntimeUnavailableError, StartError, open_runtime
from beemesh_node.runtime.security import KEPT_CAPABILITIES
from beemesh_node.workloads.pod import (
    EmptyDir,
    EnvVar,
    Files,
    HostPath,
    PodPhase,
    Resources,
    RestartPolicy,
    SecurityContext,
    Volume,
    VolumeMount,
)
from tests.node.runtime.podman_service import USER_IMAGE, PodmanService
from tests.node.runtime.pods import DEADLINE, bridged, idle, log_of, pod, run_in, shell, until

CAPABILITY_BITS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
}
NET_ADMIN = 12


def value_of(status: str, name: str) -> str:
    (line,) = [line for line in status.splitlines() if line.startswith(name + ":")]
    return line.split()[1]


async def test_an_ordinary_container_has_the_least_privilege(runtime: Runtime) -> None:
    spec = pod(idle())
    await runtime.start(spec)
    status = await run_in(runtime, spec, "cat /proc/1/status")
    kept = sum(1 << CAPABILITY_BITS[name] for name in KEPT_CAPABILITIES)
    assert int(value_of(status, "CapEff"), 16) == kept
    assert int(value_of(status, "CapBnd"), 16) == kept
    assert int(value_of(status, "CapAmb"), 16) == 0
    assert value_of(status, "NoNewPrivs") == "1"
    assert value_of(status, "Seccomp") == "2"
    assert int(await run_in(runtime, spec, "cat /proc/1/oom_score_adj")) == 1000


async def test_a_security_context_is_obeyed(runtime: Runtime) -> None:
    user = SecurityContext(
        run_as_user=1000,
        run_as_group=3000,
        run_as_non_root=True,
        read_only_root_filesystem=True,
        add_capabilities=("NET_BIND_SERVICE",),
        drop_capabilities=("ALL",),
    )
    wide = SecurityContext(allow_privilege_escalation=True, add_capabilities=("NET_ADMIN",), seccomp_unconfined=True)
    spec = pod(idle("user", security=user), idle("wide", security=wide), fs_group=2000)
    await runtime.start(spec)
    assert await run_in(runtime, spec, "id -u; id -g; id -G", "user") == "1000\n3000\n3000 2000"
    assert await run_in(runtime, spec, "touch /x 2>&1 || true; touch /tmp/x 2>&1 || true", "user") == (
        "touch: /x: Read-only file system\ntouch: /tmp/x: Read-only file system"
    )
    status = await run_in(runtime, spec, "cat /proc/1/status", "user")
    assert int(value_of(status, "CapEff"), 16) == 1 << CAPABILITY_BITS["NET_BIND_SERVICE"]
    status = await run_in(runtime, spec, "cat /proc/1/status", "wide")
    assert int(value_of(status, "CapEff"), 16) & (1 << NET_ADMIN)
    assert (value_of(status, "NoNewPrivs"), value_of(status, "Seccomp")) == ("0", "0")


async def test_run_as_non_root_is_held_against_the_image(runtime: Runtime) -> None:
    non_root = SecurityContext(run_as_non_root=True)
    with pytest.raises(StartError, match="set runAsUser") as failed:
        await runtime.start(pod(idle(security=non_root)))
    assert failed.value.reason == "CreateContainerConfigError"
    with pytest.raises(StartError, match="runAsUser is 0"):
        await runtime.start(pod(idle(security=replace(non_root, run_as_user=0))))
    spec = pod(idle(image=USER_IMAGE, security=replace(non_root, run_as_group=50)))
    await runtime.start(spec)
    assert await run_in(runtime, spec, "id -u; id -g") == "1234\n50"
    status = await run_in(runtime, spec, "cat /proc/1/status")
    assert int(value_of(status, "CapEff"), 16) == 0


async def test_limits_are_the_kernels(runtime: Runtime, config: RuntimeConfig) -> None:
    limits = Resources(cpu_millis=250, memory_bytes=64 << 20)
    spec = pod(idle(requests=Resources(cpu_millis=500), limits=limits))
    await runtime.start(spec)
    if (await runtime.info()).cgroup_version == 2:
        found = await run_in(runtime, spec, "cd /sys/fs/cgroup; cat cpu.max memory.max")
        assert found.split() == ["25000", "100000", str(64 << 20)]
    else:
        files = "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares memory/memory.limit_in_bytes"
        found = await run_in(runtime, spec, f"cd /sys/fs/cgroup; cat {files}")
        assert found.split() == ["25000", "100000", "512", str(64 << 20)]


async def test_a_container_that_takes_too_much_memory_is_ended(runtime: Runtime) -> None:
    spec = pod(
        shell("exec tail /dev/zero", limits=Resources(memory_bytes=16 << 20)),
        restart_policy=RestartPolicy.NEVER,
    )
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.containers[0].state == "terminated")
    assert status.containers[0].reason == "OOMKilled"


async def test_variables_arguments_name_and_labels(runtime: Runtime, podman: PodmanService) -> None:
    paths = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.hostIP", "status.podIP")
    env = tuple(EnvVar(f"V{index}", field_path=path) for index, path in enumerate(paths))
    script = "echo $0 $V0 $V1 $V2 $V3 $V4; test $V5 = $(hostname -i) && echo own; hostname; sleep 1000"
    args = ("$(V3)-$$(V3)-$(NONE)",)
    spec = bridged(
        shell(script, env=(*env, EnvVar("PLAIN", "a b")), args=args, working_dir="/tmp"),
        hostname="tiny",
        labels={"app": "web", "io.beemesh.mesh": "forged"},
        sysctls={"net.ipv4.ip_unprivileged_port_start": "80"},
        dns_servers=("192.0.2.53",),
    )
    await runtime.start(spec)
    one = spec.identity
    look = "echo $PLAIN; pwd; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -c 192.0.2.53 /etc/resolv.conf"
    assert await run_in(runtime, spec, look) == "a b\n/tmp\n80\n1"
    assert await log_of(runtime, spec) == (
        f"node-1-$(V3)-$(NONE) {one.pod_name} default {one.pod_uid} node-1 192.0.2.1\nown\ntiny\n"
    )
    (status,) = runtime.pods()
    assert podman.run("inspect", status.containers[0].container_id, "--format", "{{.Config.Labels.app}}") == "web"


async def test_a_host_network_pod_is_on_the_machines_network(runtime: Runtime) -> None:
    spec = pod(idle(env=(EnvVar("IP", field_path="status.podIP"),)))
    await runtime.start(spec)
    assert (
        await run_in(runtime, spec, "readlink /proc/1/ns/net; echo $IP")
        == f"{os.readlink('/proc/self/ns/net')}\n192.0.2.1"
    )
    (status,) = runtime.pods()
    assert status.pod_ip == "192.0.2.1"


async def test_a_machine_that_has_moved_tells_its_new_address(config: RuntimeConfig) -> None:
    addresses = ["192.0.2.1"]
    spec = pod(idle(env=(EnvVar("IP", field_path="status.hostIP"),)))
    async with open_runtime(replace(config, host_ip=lambda: addresses[-1])) as runtime:
        await runtime.start(spec)
        addresses.append("192.0.2.2")
        with trio.fail_after(DEADLINE):
            while (await runtime.changes.receive()).pod_ip != addresses[1]:
                pass
        assert await run_in(runtime, spec, "echo $IP") == addresses[0]
        runtime.restart_container(spec.identity, spec.template.containers[0].name)
        await until(runtime, spec, lambda status: status.ready and status.containers[0].restart_count == 1)
        assert await run_in(runtime, spec, "echo $IP") == addresses[1]
        await runtime.remove(spec.identity)


async def test_files_of_config_maps_and_secrets(runtime: Runtime, config: RuntimeConfig, podman: PodmanService) -> None:
    secret = b"bmrt-0f3c-very-secret"
    volumes = (
        Volume("conf", Files({"a.txt": b"A", "sub/b.txt": b"B"}, secret=False)),
        Volume("keys", Files({"key": secret}, secret=True, default_mode=0o400)),
    )
    mounts = (
        VolumeMount("conf", "/conf"),
        VolumeMount("conf", "/one.txt", sub_path="sub/b.txt"),
        VolumeMount("keys", "/keys"),
    )
    spec = pod(idle(mounts=mounts), volumes=volumes, fs_group=2000)
    await runtime.start(spec)
    assert await run_in(runtime, spec, "cat /conf/a.txt /conf/sub/b.txt /one.txt /keys/key") == f"ABB{secret.decode()}"
    assert await run_in(runtime, spec, "stat -c %a:%g /conf/a.txt /keys/key") == "644:2000\n440:2000"
    assert "Read-only" in await run_in(runtime, spec, "echo x 2>&1 > /keys/key || true; touch /conf/x 2>&1 || true")
    (kept,) = config.secret_dir.glob("pods/*")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    await runtime.stop(spec.identity, 0)
    on_disk = [config.state_dir, podman.directory / "root" / "overlay-containers", podman.directory / "root" / "libpod"]
    for file in (path for place in on_disk for path in place.rglob("*") if path.is_file()):
        assert secret not in file.read_bytes(), file
    await runtime.remove(spec.identity)
    assert not list(config.secret_dir.glob("pods/*"))


async def test_empty_dirs_outlive_a_restart_but_not_the_pod(runtime: Runtime, config: RuntimeConfig) -> None:
    volumes = (
        Volume("disk", EmptyDir()),
        Volume("ram", EmptyDir(medium_memory=True, size_limit_bytes=1 << 20)),
    )
    mounts = (
        VolumeMount("disk", "/disk"),
        VolumeMount("disk", "/disk/part", sub_path="deep/part"),
        VolumeMount("ram", "/ram"),
    )
    spec = pod(idle(mounts=mounts), volumes=volumes)
    await runtime.start(spec)
    await run_in(runtime, spec, "echo d > /disk/f; echo p > /disk/part/f; echo r > /ram/f")
    assert await run_in(runtime, spec, "stat -f -c %T /ram; stat -c %a /disk /ram") == "tmpfs\n777\n777"
    written = int(await run_in(runtime, spec, "head -c 2m /dev/zero > /ram/big 2> /dev/null || wc -c < /ram/big"))
    assert 0 < written <= 1 << 20
    runtime.restart_container(spec.identity, "main")
    await until(runtime, spec, lambda status: status.containers[0].restart_count == 1 and status.ready)
    assert await run_in(runtime, spec, "cat /disk/f /disk/deep/part/f /ram/f") == "d\np\nr"


async def test_the_end_of_a_pod_leaves_the_memory_of_others_alone(runtime: Runtime) -> None:
    ram = {"volumes": (Volume("ram", EmptyDir(medium_memory=True)),)}
    stays, goes = (pod(idle(mounts=(VolumeMount("ram", "/ram"),)), **ram) for _ in range(2))
    for spec in (stays, goes):
        await runtime.start(spec)
    await run_in(runtime, stays, "echo r > /ram/f")
    await runtime.remove(goes.identity)
    assert await run_in(runtime, stays, "cat /ram/f") == "r"
    (left,) = runtime.pods()
    assert (left.identity, left.phase, left.containers[0].restart_count) == (stays.identity, PodPhase.RUNNING, 0)


async def test_a_disk_empty_dir_over_its_limit_evicts_the_pod(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beemesh_node.runtime.supervisor.VOLUME_CHECK_SECONDS", 0.05)
    volumes = (Volume("disk", EmptyDir(size_limit_bytes=1 << 20)),)
    spec = pod(idle(mounts=(VolumeMount("disk", "/disk"),)), volumes=volumes)
    await runtime.start(spec)
    await until(runtime, spec, lambda status: status.ready)
    await run_in(runtime, spec, "head -c 900k /dev/zero > /disk/a")
    assert runtime.pods()[0].phase is PodPhase.RUNNING
    async with runtime.exec(spec.identity, "main", ["sh", "-c", "head -c 900k /dev/zero > /disk/b"]):
        status = await until(runtime, spec, lambda status: status.phase is PodPhase.FAILED)
    assert (status.reason, "disk" in status.message) == ("Evicted", True)
    await until(runtime, spec, lambda status: status.containers[0].state == "terminated")


async def test_a_link_planted_in_a_volume_is_not_followed(runtime: Runtime, tmp_path: Path) -> None:
    mounts = (VolumeMount("disk", "/disk"),)
    attacker = shell("ln -s /etc /disk/part; sleep 1000", "attacker", mounts=mounts)
    victim = idle("victim", mounts=(VolumeMount("disk", "/part", sub_path="part"),))
    spec = pod(
        victim,
        volumes=(Volume("disk", EmptyDir()),),
        init_containers=(replace(attacker, command=("ln", "-s", "/etc", "/disk/part")),),
    )
    await runtime.start(spec)
    status = await until(runtime, spec, lambda status: status.containers[0].reason == "FailedMount")
    assert "is a link" in status.containers[0].message


async def test_host_paths_are_what_they_are_said_to_be(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the machine")
    volumes = (
        Volume("file", HostPath(str(tmp_path / "file"), "File")),
        Volume("made", HostPath(str(tmp_path / "made"), "DirectoryOrCreate")),
    )
    mounts = (VolumeMount("file", "/file", read_only=True), VolumeMount("made", "/made"))
    spec = pod(idle(mounts=mounts), volumes=volumes)
    await runtime.start(spec)
    assert await run_in(runtime, spec, "cat /file; echo back > /made/x") == "from the machine"
    assert "Read-only" in await run_in(runtime, spec, "echo x 2>&1 > /file || true")
    assert (tmp_path / "made" / "x").read_text() == "back\n"
    for kind, words in (
        ("Directory", "is not a directory"),
        ("Socket", "is not a socket"),
        ("Nonsense", "use Directory"),
    ):
        wrong = pod(idle(), volumes=(Volume("v", HostPath(str(tmp_path / "file"), kind)),))
        with pytest.raises(StartError, match=words) as failed:
            await runtime.start(wrong)
        assert failed.value.reason == "FailedMount"


async def test_secrets_are_refused_a_disk(config: RuntimeConfig, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="memory only"):
        async with open_runtime(replace(config, secret_dir=Path.home() / ".bmrt-secrets")):
            raise AssertionError("opened with secrets on a disk")
