import pytest
from hypothesis import given
from hypothesis import strategies as st

from beemesh_node.protocol.messages import Expression, NoReason, Taint, Term, Toleration
from beemesh_node.scheduling.eligibility import refusals
from beemesh_node.scheduling.expressions import holds
from beemesh_node.scheduling.reasons import WORDS, bytes_text, cpu_text, details, summarise
from beemesh_node.scheduling.taints import tolerates

from .support import GIB, member, needs

LABELS = {"zone": "a", "cores": "8", "word": "x"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("zone", "In", ("a", "b"), True),
        ("zone", "In", ("b",), False),
        ("absent", "In", ("a",), False),
        ("zone", "NotIn", ("b",), True),
        ("zone", "NotIn", ("a",), False),
        ("absent", "NotIn", ("a",), True),
        ("zone", "Exists", (), True),
        ("absent", "Exists", (), False),
        ("absent", "DoesNotExist", (), True),
        ("zone", "DoesNotExist", (), False),
        ("cores", "Gt", ("7",), True),
        ("cores", "Gt", ("8",), False),
        ("cores", "Lt", ("9",), True),
        ("cores", "Lt", ("8",), False),
        ("word", "Gt", ("1",), False),
        ("cores", "Gt", ("many",), False),
        ("cores", "Gt", ("1", "2"), False),
        ("absent", "Lt", ("1",), False),
        ("zone", "Like", ("a",), False),
    ],
)
def test_expressions_hold_as_in_kubernetes(key, operator, values, expected):
    assert holds(Expression(key, operator, values), LABELS) is expected


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration("gpu", "Equal", "yes", "NoSchedule"), True),
        (Toleration("gpu", "Equal", "no", "NoSchedule"), False),
        (Toleration("gpu", "Exists", "", "NoSchedule"), True),
        (Toleration("gpu", "Exists"), True),
        (Toleration("gpu", "Exists", "", "NoExecute"), False),
        (Toleration("other", "Exists"), False),
        (Toleration("", "Exists"), True),
        (Toleration("", "Equal"), False),
        (Toleration("gpu", "", "yes"), True),
        (Toleration("gpu", "Like", "yes"), False),
    ],
)
def test_tolerations_cover_taints_as_in_kubernetes(toleration, expected):
    assert tolerates(toleration, Taint("gpu", "yes", "NoSchedule")) is expected


@pytest.mark.parametrize(
    ("machine", "needed", "expected"),
    [
        (member(), needs(), []),
        (member(ready=False, reason="Podman does not answer"), needs(), [NoReason.NOT_READY]),
        (member(unschedulable=True), needs(), [NoReason.CORDONED]),
        (member(cpu_allocatable=50), needs(), [NoReason.CPU]),
        (member(memory_allocatable=GIB - 1), needs(), [NoReason.MEMORY]),
        (member(cpu_allocatable=0, memory_allocatable=0), needs(0, 0), []),
        (member(), needs(node_selector={"disk": "ssd"}), [NoReason.NODE_SELECTOR]),
        (member(labels={"disk": "ssd"}), needs(node_selector={"disk": "ssd"}), []),
        (
            member(labels={"kubernetes.io/arch": "arm64"}),
            needs(node_selector={"kubernetes.io/arch": "amd64", "disk": "ssd"}),
            [NoReason.ARCHITECTURE, NoReason.NODE_SELECTOR],
        ),
        (member(), needs(node_terms=(Term((Expression("disk", "Exists"),)),)), [NoReason.NODE_AFFINITY]),
        (member(), needs(node_terms=(Term(()),)), [NoReason.NODE_AFFINITY]),
        (
            member(labels={"b": "1"}),
            needs(node_terms=(Term((Expression("a", "Exists"),)), Term((Expression("b", "Exists"),)))),
            [],
        ),
        (member(taints=(Taint("gpu"),)), needs(), [NoReason.TAINT]),
        (member(taints=(Taint("gpu", "", "NoExecute"),)), needs(), [NoReason.TAINT]),
        (member(taints=(Taint("gpu", "", "PreferNoSchedule"),)), needs(), []),
        (member(taints=(Taint("gpu"),)), needs(tolerations=(Toleration("gpu", "Exists"),)), []),
        (member(unschedulable=True), needs(tolerations=(Toleration("", "Exists"),)), []),
    ],
)
def test_every_reason_is_found(machine, needed, expected):
    assert [refusal.reason for refusal in refusals(machine, needed)] == expected


def test_reasons_are_counted_machine_by_machine():
    small = refusals(member(memory_allocatable=GIB, cpu_allocatable=10), needs(memory=4 * GIB))
    cordoned = refusals(member(unschedulable=True), needs())
    told = {"a": small, "b": small, "c": cordoned}
    assert summarise(told) == "0/3 machines can take it: 2 lack CPU, 2 lack memory, 1 is cordoned"
    assert summarise({"c": cordoned}, can=2) == "2/3 machines can take it: 1 is cordoned"
    assert summarise({}) == "no machine is known"
    assert details(told).startswith("a: needs 100m CPU, 10m free, needs 4Gi memory, 1Gi free; b: ")
    assert not details({"c": cordoned})


def test_every_reason_has_words():
    assert set(WORDS) == set(NoReason)


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (512, "512"), (2**20, "1Mi"), (1288490189, "1.2Gi"), (5 * 2**40, "5Ti")]
)
def test_bytes_are_written_as_people_read_them(amount, text):
    assert bytes_text(amount) == text


def test_cpu_is_written_as_people_read_it():
    assert (cpu_text(250), cpu_text(1500), cpu_text(2000)) == ("250m", "1.5", "2")


@given(
    st.builds(Expression, st.text(max_size=3), st.text(max_size=3), st.lists(st.text(max_size=3)).map(tuple)),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)
def test_no_expression_raises(expression, labels):
    assert holds(expression, labels) in (True, False)
