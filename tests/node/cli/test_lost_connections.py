"""What becomes of a command whose connection to the mesh is lost in the middle."""

from contextlib import asynccontextmanager

import pytest
import trio

from beemesh_node.cli.errors import ExitCode
from beemesh_node.cli.gather import gather
from beemesh_node.messaging.errors import ConnectionLost
from beemesh_node.protocol.messages import LabelRequest, LeaseQuery, ListReply, ListRequest, Resource
from tests.node.cli.test_leases import DB, voting

LOST = "the connection to m1 was lost before m1 answered; run it again"


def cut(mesh, monkeypatch, fits):
    """Have the first question that `fits` end with a lost connection; return the questions that it ended."""
    ask, ended = mesh.ask, []

    async def asked(machine, payload, reply, *, timeout):
        if not ended and fits(machine, payload):
            ended.append(payload)
            raise ConnectionLost(LOST)
        return await ask(machine, payload, reply, timeout=timeout)

    monkeypatch.setattr(mesh, "ask", asked)
    return ended


def test_looking_begins_anew(beectl, mesh, monkeypatch):
    ended = cut(mesh, monkeypatch, lambda _, payload: isinstance(payload, ListRequest))
    told = beectl("get", "workloads")
    assert ended
    assert "The connection was lost; connecting anew." in told.stderr


def test_a_connection_that_never_lasts_is_given_up(beectl, mesh, monkeypatch):
    made = []

    @asynccontextmanager
    async def connect(_):
        made.append(True)
        raise ConnectionLost(LOST)
        yield

    monkeypatch.setattr("beemesh_node.cli.mesh.connect", connect)
    assert LOST in beectl("get", "workloads", code=ExitCode.FAILURE).stderr
    assert len(made) == 3


def test_what_most_guardians_have_stored_is_in_force_whatever_becomes_of_the_entry(mesh):
    first, second, third = mesh.fakes

    class Dying:
        entry = first

        async def ask(self, machine, payload, reply, *, timeout):
            if machine == third:
                await trio.sleep(0.01)
                raise ConnectionLost(LOST)
            return ListReply((), (), (), (), "")

    question = ListRequest(Resource.PODS)
    gathered = trio.run(gather, Dying(), mesh.fakes, question, ListReply)
    assert set(gathered.replies) == {first, second}
    assert gathered.silent == {third: LOST}
    with pytest.raises(ExceptionGroup) as raised:
        trio.run(lambda: gather(Dying(), mesh.fakes, question, ListReply, enough=lambda got: len(got) == 3))
    assert raised.group_contains(ConnectionLost)


def test_labelling_goes_on_with_the_machines_that_were_chosen_first(beectl, mesh, monkeypatch):
    """The selector would not find again whom the command has labelled before the connection was lost."""
    beectl("label", "--all", "window=night")
    mesh_ask, answered = mesh.ask, []

    async def asked(machine, payload, reply, *, timeout):
        answer = await mesh_ask(machine, payload, reply, timeout=timeout)
        if isinstance(payload, LabelRequest) and not answered:
            answered.append(machine)
            raise ConnectionLost(LOST)  # it has done it, and its answer does not arrive
        return answer

    monkeypatch.setattr(mesh, "ask", asked)
    facts = beectl.json("label", "machines", "-l", "window=night", "window=day", "--overwrite")
    assert [each["machine"] for each in facts["machines"]] == ["m1", "m2", "m3"]
    assert all(each["labels"]["window"] == "day" for each in facts["machines"])


def test_breaking_leases_says_what_is_left_to_do(beectl, mesh, tmp_path, monkeypatch):
    db = tmp_path / "db.yml"
    db.write_text(DB)
    beectl("apply", "-f", db)
    voting(mesh, monkeypatch, silent=("m2", "m3"))
    deleted = []
    mesh.after_commit = lambda _, declaration: deleted.append(declaration)
    ended = cut(mesh, monkeypatch, lambda _, payload: deleted and not isinstance(payload, LeaseQuery))
    words = ("lease", "break", "sts/db", "--dead", "m2", "--dead", "m3", "--confirm", "db")
    told = beectl(*words, code=ExitCode.FAILURE).stderr
    assert ended
    assert "is deleted and not declared anew" in told
    assert "apply its manifest again" in told
