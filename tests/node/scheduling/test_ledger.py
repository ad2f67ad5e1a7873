from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.messages import NoReason, Requirements
from beemesh_node.scheduling.ledger import Free, Ledger

amounts = st.builds(
    Requirements,
    st.integers(0, 900),
    st.integers(0, 900),
    st.lists(st.integers(1, 4), max_size=2, unique=True).map(tuple),
)
moves = st.lists(st.tuples(st.sampled_from(["reserve", "reserve", "release"]), st.sampled_from("abcdefgh"), amounts))


@given(moves, st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 5))
def test_reservations_never_exceed_capacity(moves, cpu, memory, pods):
    ledger, held = Ledger(), {}
    ledger.resize(cpu, memory, pods)
    for move, key, needed in moves:
        if move == "release":
            ledger.release(key)
            held.pop(key, None)
        elif not ledger.reserve(key, needed):
            held.setdefault(key, needed)
        ports = [port for entry in held.values() for port in entry.host_ports]
        assert ledger.cpu_used == sum(entry.cpu_millis for entry in held.values()) <= cpu
        assert ledger.memory_used == sum(entry.memory_bytes for entry in held.values()) <= memory
        assert len(ledger) == len(held) <= pods
        assert len(ports) == len(set(ports))
        assert ledger.free.ports == set(ports)


@given(
    st.builds(Free, st.integers(-50, 999), st.integers(-50, 999), st.integers(-2, 9), st.frozensets(st.integers(1, 4))),
    amounts,
)
def test_what_fits_fits_and_one_more_does_not(free, needed):
    count = free.fitting(needed)
    assert count == 0 or not free.after(needed, count - 1).shortages(needed)
    assert free.after(needed, count).shortages(needed)


def test_what_runs_is_written_down_also_beyond_capacity():
    ledger = Ledger()
    ledger.resize(100, 100, 1)
    ledger.adopt("found", Requirements(500, 500))
    assert (ledger.free.cpu, ledger.free.memory) == (-400, -400)
    assert {r.reason for r in ledger.reserve("new", Requirements(1, 0))} == {NoReason.CPU, NoReason.PODS}
    ledger.release("found")
    assert not ledger.reserve("new", Requirements(1, 0))


def test_what_is_not_asked_for_is_never_missing():
    assert not Free(-5, -5, 1, frozenset()).shortages(Requirements(0, 0))


def test_a_host_port_is_held_once():
    ledger = Ledger()
    ledger.resize(1000, 1000, 10)
    assert not ledger.reserve("one", Requirements(0, 0, (80,)))
    (refusal,) = ledger.reserve("two", Requirements(0, 0, (80, 443)))
    assert (refusal.reason, refusal.detail) == (NoReason.HOST_PORT, "port 80 is in use")
