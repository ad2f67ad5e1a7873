"""Restarts and probes on a virtual clock, without Podman."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.runtime.backoff import INITIAL_DELAY, MAX_DELAY, RESET_AFTER, CrashLoopBackOff, restarts
from beemesh_node.runtime.errors import RuntimeUnavailableError, StartError
from beemesh_node.runtime.inspection import Ended, Inspection
from beemesh_node.runtime.keeper import ContainerKeeper
from beemesh_node.runtime.labels import Role
from beemesh_node.runtime.pod_state import pod_phase, pod_ready
from beemesh_node.runtime.probing import Threshold
from beemesh_node.workloads.pod import Container, ContainerStatus, ExecAction, PodPhase, Probe, RestartPolicy

ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER
ACTION = ExecAction(("true",))


@dataclass
class VirtualContainers:
    """A driver whose containers live for a given time; `healthy` answers probes by the time since the start."""

    lifetime: float = 1.0
    long_lives: dict[int, float] = field(default_factory=dict)
    exit_code: int = 1
    healthy: Callable[[float], bool] = lambda age: True
    answer_seconds: float = 0.0
    failures: list[Exception] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    killed: trio.Event = field(default_factory=trio.Event)
    removed_at: float | None = None

    async def launch(self, container: Container, role: Role, restart: int) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.starts.append(trio.current_time())
        self.killed = trio.Event()
        return f"{container.name}-{restart}"

    async def prune(self, container: Container, restart: int) -> None:
        return None

    async def settle(self, container: Container, restart: int) -> None:
        return None

    async def inspect(self, container_id: str) -> Inspection | None:
        if self.removed_at is not None and trio.current_time() >= self.removed_at:
            return None
        raise RuntimeUnavailableError("nothing is known")

    async def ended(self, container_id: str, unheard: Callable[[], None] | None = None) -> Ended:
        code = self.exit_code
        with trio.move_on_after(self.long_lives.get(len(self.starts) - 1, self.lifetime)):
            await self.killed.wait()
            code = 137
        self.ends.append(trio.current_time())
        return Ended(code, "Error" if code else "Completed")

    async def end(self, container_id: str, grace_seconds: float) -> None:
        self.killed.set()

    async def probe(self, container_id: str, probe: Probe) -> bool:
        age = trio.current_time() - self.starts[-1]
        await trio.sleep(self.answer_seconds)
        return self.healthy(age)


def keeper_of(
    driver: VirtualContainers, policy: RestartPolicy = ALWAYS, role: Role = Role.MAIN, **probes: Probe
) -> tuple[ContainerKeeper, list[tuple[float, ContainerStatus]]]:
    seen: list[tuple[float, ContainerStatus]] = []
    keeper = ContainerKeeper(
        Container("c", "image", **probes),
        role,
        policy,
        1.0,
        driver,
        lambda: seen.append((trio.current_time(), keeper.status)),
    )
    return keeper, seen


async def keep_for(keeper: ContainerKeeper, seconds: float) -> Ended | None:
    with trio.move_on_after(seconds):
        return await keeper.keep()
    return None


def gaps(driver: VirtualContainers) -> list[float]:
    """From each end to the next start."""
    return [round(start - end, 6) for end, start in zip(driver.ends, driver.starts[1:], strict=False)]


async def test_the_first_restart_is_at_once_and_later_ones_back_off(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1)
    keeper, _ = keeper_of(driver)
    await keep_for(keeper, 1500)
    assert gaps(driver)[:8] == [0, 10, 20, 40, 80, 160, 300, 300]


async def test_a_death_that_was_the_beginning_of_a_removal_is_no_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver = VirtualContainers(lifetime=5, removed_at=11)
    keeper, _ = keeper_of(driver)
    await keep_for(keeper, 15)
    assert gaps(driver)[:2] == [0, 1], "the second death was at 10 s, and what is removed at 11 s is back at 11 s"


async def test_starts_that_fail_back_off_although_the_dead_container_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    driver = VirtualContainers(lifetime=5, removed_at=0)
    keeper, _ = keeper_of(driver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.keep)
        await trio.sleep(1)
        driver.failures = [StartError("ErrImagePull", "no registry") for _ in range(50)]
        await trio.sleep(40)
        nursery.cancel_scope.cancel()
    assert len(driver.failures) >= 46


async def test_ten_minutes_of_running_forget_the_past(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1, long_lives={3: 600.0})
    keeper, _ = keeper_of(driver)
    await keep_for(keeper, 700)
    assert gaps(driver)[:5] == [0, 10, 20, 0, 10]


async def test_a_restarted_daemon_continues_the_back_off(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1)
    status = ContainerStatus("c", "image", "terminated", restart_count=2, exit_code=1, container_id="c-2")
    keeper = ContainerKeeper(Container("c", "image"), Role.MAIN, ALWAYS, 1, driver, lambda: None, status)
    await keep_for(keeper, 30)
    assert driver.starts == [1 + 20]
    assert keeper.status.restart_count == 3


@pytest.mark.parametrize(
    ("policy", "role", "code", "again"),
    [
        (ALWAYS, Role.MAIN, 0, True),
        (ALWAYS, Role.MAIN, 1, True),
        (ON_FAILURE, Role.MAIN, 0, False),
        (ON_FAILURE, Role.MAIN, 1, True),
        (NEVER, Role.MAIN, 1, False),
        (ALWAYS, Role.INIT, 0, False),
        (ALWAYS, Role.INIT, 1, True),
        (NEVER, Role.INIT, 1, False),
    ],
)
async def test_restart_policies(
    autojump_clock: trio.testing.MockClock, policy: RestartPolicy, role: Role, code: int, again: bool
) -> None:
    driver = VirtualContainers(exit_code=code)
    keeper, _ = keeper_of(driver, policy, role)
    over = await keep_for(keeper, 5)
    assert (len(driver.starts) > 1) is again
    assert (over is None) is again


async def test_a_restart_that_fails_is_tried_again_under_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1)
    keeper, seen = keeper_of(driver)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.keep)
        await trio.sleep(0.5)
        driver.failures = [StartError("ErrImagePull", "no registry"), RuntimeUnavailableError("gone")]
        await trio.sleep(12)
        nursery.cancel_scope.cancel()
    reasons = [status.reason for _, status in seen if status.state == "waiting"]
    assert reasons == ["ErrImagePull", "RuntimeUnavailable"]
    assert driver.starts == [0, 1 + 10 + 1]


async def test_a_container_is_ready_when_its_probes_say_so(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1000, healthy=lambda age: 20 <= age < 60)
    ready = Probe(ACTION, period_seconds=5, success_threshold=2, failure_threshold=3)
    keeper, seen = keeper_of(driver, readiness_probe=ready)
    await keep_for(keeper, 100)
    changes = [
        (at, status.ready)
        for (at, status), (_, before) in zip(seen[1:], seen, strict=False)
        if before.ready != status.ready
    ]
    assert changes == [(25, True), (70, False)]
    assert driver.ends == []


async def test_liveness_waits_for_startup_and_then_restarts(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1000, healthy=lambda age: 12 <= age < 40)
    keeper, seen = keeper_of(
        driver,
        startup_probe=Probe(ACTION, period_seconds=5, failure_threshold=4),
        liveness_probe=Probe(ACTION, period_seconds=10, failure_threshold=2),
    )
    await keep_for(keeper, 60)
    assert driver.ends == [55]
    assert driver.starts == [0, 55]
    (began,) = [at for at, status in seen if status.started][:1]
    assert began == 15
    assert keeper.status.last_message == "its liveness probe failed"


async def test_a_startup_that_never_succeeds_restarts(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1000, healthy=lambda age: False)
    keeper, _ = keeper_of(driver, startup_probe=Probe(ACTION, period_seconds=5, failure_threshold=4))
    await keep_for(keeper, 16)
    assert driver.ends == [15]
    assert keeper.status.last_message == "its startup probe failed"


async def test_an_answer_later_than_the_timeout_is_a_failure(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1000, answer_seconds=3)
    keeper, _ = keeper_of(
        driver, liveness_probe=Probe(ACTION, initial_delay_seconds=7, timeout_seconds=2, failure_threshold=1)
    )
    await keep_for(keeper, 10)
    assert driver.ends == [9]


async def test_an_adopted_container_is_not_delayed_again(autojump_clock: trio.testing.MockClock) -> None:
    driver = VirtualContainers(lifetime=1000, starts=[0.0])
    status = ContainerStatus("c", "image", "running", container_id="c-0")
    probe = Probe(ACTION, initial_delay_seconds=300)
    container = Container("c", "image", readiness_probe=probe)
    keeper = ContainerKeeper(container, Role.MAIN, ALWAYS, 1, driver, lambda: None, status)
    assert not keeper.status.ready
    await keep_for(keeper, 1)
    assert keeper.status.ready
    assert driver.starts == [0.0]


@given(st.lists(st.floats(0, 2 * RESET_AFTER), max_size=40))
def test_a_back_off_is_bounded_and_resets(lives: list[float]) -> None:
    backoff = CrashLoopBackOff()
    last = 0.0
    for ran_for in lives:
        delay = backoff.next_delay(ran_for)
        assert 0 <= delay <= MAX_DELAY
        if ran_for >= RESET_AFTER:
            assert delay == 0
        else:
            assert delay in (last * 2 or INITIAL_DELAY, MAX_DELAY) or last == delay == 0
        last = delay


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_verdict_needs_so_many_answers_in_a_row(answers: list[bool], successes: int, failures: int) -> None:
    threshold = Threshold(Probe(ACTION, success_threshold=successes, failure_threshold=failures))
    for index, answer in enumerate(answers):
        verdict = threshold.verdict(answer)
        needed = successes if answer else failures
        last = answers[max(0, index + 1 - needed) : index + 1]
        assert verdict == (answer if len(last) == needed and set(last) == {answer} else None)


RUNNING = ContainerStatus("c", "i", "running", ready=True)
WAITING = ContainerStatus("c", "i", "waiting")
BACKING_OFF = replace(WAITING, last_finished_at_ms=1)
DONE = ContainerStatus("c", "i", "terminated")
FAILED = replace(DONE, exit_code=1)


@pytest.mark.parametrize(
    ("policy", "init", "main", "phase"),
    [
        (ALWAYS, [WAITING], [WAITING], PodPhase.PENDING),
        (ALWAYS, [FAILED], [WAITING], PodPhase.PENDING),
        (NEVER, [FAILED], [WAITING], PodPhase.FAILED),
        (ALWAYS, [DONE], [WAITING, RUNNING], PodPhase.PENDING),
        (ALWAYS, [DONE], [RUNNING, BACKING_OFF], PodPhase.RUNNING),
        (ALWAYS, [], [DONE], PodPhase.RUNNING),
        (ON_FAILURE, [], [DONE, FAILED], PodPhase.RUNNING),
        (ON_FAILURE, [], [DONE, DONE], PodPhase.SUCCEEDED),
        (NEVER, [], [DONE, FAILED], PodPhase.FAILED),
        (NEVER, [], [RUNNING, FAILED], PodPhase.RUNNING),
    ],
)
def test_phases(
    policy: RestartPolicy, init: list[ContainerStatus], main: list[ContainerStatus], phase: PodPhase
) -> None:
    assert pod_phase(policy, init, main) is phase
    assert pod_ready(phase, main) is (phase is PodPhase.RUNNING and all(one.ready for one in main))


def test_exit_codes_and_policies() -> None:
    assert [restarts(policy, 0) for policy in (ALWAYS, ON_FAILURE, NEVER)] == [True, False, False]
    assert [restarts(policy, 137) for policy in (ALWAYS, ON_FAILURE, NEVER)] == [True, True, False]
