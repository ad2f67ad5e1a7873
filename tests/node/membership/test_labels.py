"""Which label of a machine wins, which can be changed while it runs, and that what is kept stays small."""

import pytest

from beemesh_node.membership.labels import (
    MAX_ORDERED,
    MAX_ORDERED_SIZE,
    LabelsRefusedError,
    LabelTakenError,
    OrderedLabels,
    Sources,
    check_label,
    labels_in_force,
)
from beemesh_node.protocol.messages import LabelRequest

SOURCES = Sources("oak", "amd64", "linux", {"disk": "hdd", "rack": "r1"}, {"class": "cloud"})
KNOWN = {"kubernetes.io/hostname": "oak", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}


def after(*orders, sources=SOURCES):
    ordered = OrderedLabels()
    for order in orders:
        ordered = ordered.after(order, sources)
    return ordered


def own(ordered, sources=SOURCES):
    return ordered.over(sources.configured)


def sets(overwrite=False, **labels):
    return LabelRequest(labels, (), overwrite)


def removes(*keys):
    return LabelRequest({}, keys)


def test_the_certificate_goes_before_orders_and_these_before_the_file():
    ordered = after(sets(overwrite=True, disk="ssd", gpu="yes"))
    assert own(ordered) == {"disk": "ssd", "rack": "r1", "gpu": "yes"}
    later = Sources("oak", "amd64", "linux", SOURCES.configured, {"class": "cloud", "gpu": "no"})
    assert labels_in_force(later, own(ordered)) == {**KNOWN, "disk": "ssd", "rack": "r1", "gpu": "no", "class": "cloud"}


def test_no_machine_says_itself_who_it_is_or_that_it_is_a_guardian():
    lie = {"kubernetes.io/hostname": "elm", "node-role.kubernetes.io/guardian": "", "kubernetes.io/arch": "arm64"}
    assert labels_in_force(SOURCES, lie) == {**KNOWN, "kubernetes.io/arch": "arm64", "class": "cloud"}


def test_a_removed_label_of_the_file_is_hidden_until_it_is_set_again():
    hidden = after(removes("disk"))
    assert (hidden, own(hidden)) == (OrderedLabels({}, ("disk",)), {"rack": "r1"})
    assert after(removes("disk"), removes("disk")) == hidden
    assert own(after(removes("disk"), sets(disk="ssd"))) == {"disk": "ssd", "rack": "r1"}
    assert after(sets(overwrite=True, disk="ssd"), removes("disk")) == hidden


def test_what_the_file_says_anyway_is_left_to_it():
    assert after(sets(disk="hdd")) == OrderedLabels()
    assert after(sets(overwrite=True, disk="ssd"), sets(overwrite=True, disk="hdd")) == OrderedLabels()
    assert after(removes("disk"), sets(disk="hdd")) == OrderedLabels()


def test_a_removed_label_of_an_order_is_forgotten():
    assert after(sets(gpu="yes"), removes("gpu", "nobody-has-this")) == OrderedLabels()


def test_another_value_takes_overwrite_and_the_same_one_does_not():
    with pytest.raises(LabelTakenError, match=r"'disk' already has a value \(hdd\), and --overwrite is false"):
        after(sets(disk="ssd"))
    ordered = after(sets(gpu="yes"))
    assert ordered.after(sets(gpu="yes"), SOURCES) == ordered


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("kubernetes.io/hostname", "the name in its certificate"),
        ("kubernetes.io/arch", "finds it out itself"),
        ("kubernetes.io/os", "finds it out itself"),
        ("node-role.kubernetes.io/guardian", "whether it is a guardian"),
        ("class", "it stands in the certificate of oak, which goes first; have that signed anew"),
    ],
)
def test_what_only_the_certificate_or_the_machine_can_say_is_refused_with_the_reason(key, why):
    with pytest.raises(LabelsRefusedError, match=rf"label {key} cannot be changed: .*{why}"):
        after(sets(overwrite=True, **{key: "other"}))
    if key in (*KNOWN, "class"):
        with pytest.raises(LabelsRefusedError, match="cannot be changed"):
            after(removes(key))
        assert after(sets(**{key: {**KNOWN, "class": "cloud"}[key]})) == OrderedLabels()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("", "x", "label key ''"),
        ("a b", "x", "label key 'a b'"),
        ("-a", "x", "label key '-a'"),
        ("a" * 64, "x", "no more than 63"),
        ("Upper.example/a", "x", "label key 'Upper.example/a'"),
        ("a/b/c", "x", "label key 'a/b/c'"),
        (f"{'a' * 254}/b", "x", "no more than 253"),
        ("a", "no spaces", "value of label a"),
        ("a", "-b", "value of label a"),
        ("a", "b" * 64, "no more than 63"),
        ("a", "é", "value of label a"),
    ],
)
def test_the_syntax_is_that_of_kubernetes(key, value, said):
    with pytest.raises(LabelsRefusedError, match=said):
        after(sets(**{key: value}))
    with pytest.raises(LabelsRefusedError):
        check_label(key, value)


def test_valid_labels_of_every_form_are_taken():
    labels = {"a": "", "A.b_c-D": "1.2_3-4", "example.com/a": "b", f"{'a' * 253}/{'b' * 63}": "c" * 63}
    assert own(after(sets(**labels))) == {**SOURCES.configured, **labels}


def test_one_order_does_not_both_set_and_remove():
    with pytest.raises(LabelsRefusedError, match="label gpu: cannot be set and removed at once"):
        after(LabelRequest({"gpu": "yes"}, ("gpu",)))
    with pytest.raises(LabelsRefusedError, match="label key 'a b'"):
        after(removes("a b"))


def test_what_is_kept_is_bounded_in_number_and_size():
    full = after(sets(**{f"k{number}": "v" for number in range(MAX_ORDERED)}))
    for one_more in (sets(more="v"), removes("disk")):
        with pytest.raises(LabelsRefusedError, match=f"{MAX_ORDERED + 1} labels set or hidden: at most {MAX_ORDERED}"):
            full.after(one_more, SOURCES)
    assert len(full.after(removes("k0"), SOURCES).after(sets(more="v"), SOURCES).values) == MAX_ORDERED
    long = {f"{'p' * 250}/{'n' * 60}{number}": "v" * 63 for number in range(MAX_ORDERED_SIZE // 374 + 1)}
    with pytest.raises(LabelsRefusedError, match="characters of labels: at most 4096"):
        after(sets(**long))
