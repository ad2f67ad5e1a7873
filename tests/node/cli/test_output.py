"""Tables that fit, and text from elsewhere that cannot drive the terminal."""

import pytest

from beemesh_node.cli import terminal
from beemesh_node.cli.output import Table, columns, format_table, object_name

TABLE = Table(("NAME", "STATUS", "MESSAGE"), (("hello", "Running", "all is well here"), ("b", "Pending", "x")))


def test_columns_are_aligned_and_nothing_trails():
    assert format_table(TABLE, None) == [
        "NAME    STATUS    MESSAGE",
        "hello   Running   all is well here",
        "b       Pending   x",
    ]


@pytest.mark.parametrize("width", [80, 40, 36, 33])
def test_a_table_fits_the_terminal(width):
    lines = format_table(TABLE, width)
    assert max(len(line) for line in lines) <= width
    assert len(lines) == 3


def test_a_cut_cell_says_so():
    assert format_table(TABLE, 33)[1].endswith("…")


def test_narrow_columns_alone_without_wide():
    table = Table(("NAME", "AGE", "IMAGE"), (("a", "1m", "img"),), narrow=2)
    assert format_table(table, None) == ["NAME   AGE", "a      1m"]
    assert format_table(table, None, wide=True)[1] == "a      1m    img"


def test_headers_can_be_left_out_and_no_rows_give_headers_only():
    assert format_table(Table(("A",), ()), None) == ["A"]
    assert format_table(Table(("A",), (("x",),)), None, headers=False) == ["x"]
    assert format_table(Table(("A",), ()), None, headers=False) == []


def test_wide_characters_count_as_two_columns():
    assert columns("日本") == 4
    lines = format_table(Table(("A", "B"), (("日本", "x"), ("abcd", "y"))), None)
    assert lines[1].index("x") == 5
    assert lines[2].index("y") == 7


def test_control_characters_never_reach_the_terminal():
    hostile = "\x1b[2Jgone\x07\x9b\u202e\nnext"
    assert terminal.printable(hostile) == "\ufffd[2Jgone\ufffd\ufffd\ufffd next"
    assert "\x1b" not in format_table(Table(("A",), ((hostile,),)), None)[1]


def test_names_carry_the_group():
    assert (
        object_name({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}) == "deployment.apps/a"
    )
    assert object_name({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}) == "pod/a"
