"""Declaring, changing and deleting workloads: what every such command does, without the command line.

Whatever is asked is first compared with what the mesh holds, then becomes one record, which is in force once the
machines responsible for it have stored it. Nothing is half done: a guardian has the whole of a change or nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from beemesh_node.cli import changes
from beemesh_node.cli.changes import Change
from beemesh_node.cli.commit import commit
from beemesh_node.cli.errors import CliError, InvalidInputError, UnchangeableError
from beemesh_node.cli.live import Live, open_live, open_revision, subject
from beemesh_node.cli.mesh import Mesh
from beemesh_node.cli.survey import Declaration, Survey, survey
from beemesh_node.protocol.ids import MachineId
from beemesh_node.protocol.messages import Commit, Forecast
from beemesh_node.protocol.record import AttestedRecord, attest
from beemesh_node.workloads.manifest import KubernetesObject
from beemesh_node.workloads.patching import PatchType
from beemesh_node.workloads.spec import WorkloadSpec
from beemesh_node.workloads.values import Json

UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one workload."""

    action: str
    """created, configured, replaced, patched, scaled, restarted, rolled back, deleted or unchanged."""
    attested: AttestedRecord
    spec: WorkloadSpec | None = field(repr=False)
    """None for what was deleted."""
    warnings: tuple[str, ...] = ()
    before: Live | None = field(default=None, repr=False)
    """What was live under the name; None if nothing was."""
    forecast: Forecast | None = None
    """Of a dry run: where its replicas would run."""

    @property
    def changed(self) -> bool:
        """Whether anything is different now."""
        return self.action != UNCHANGED

    @property
    def subject(self) -> str:
        """`deployment/hello`."""
        return subject(self.attested.record)


Ended: TypeAlias = Callable[[Sequence[Outcome]], Awaitable[None]]
"""Waits until nothing runs any more of what was deleted."""


class WorkloadClient:
    """Changes workloads of one mesh. Every method raises `CliError` and `MeshError`."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def survey(self, namespace: str, kind: str, name: str, *, content: bool = False) -> Survey:
        """What is declared under a name; an empty `kind` is any."""
        session, chain = self._mesh.session, self._mesh.chain
        return await survey(session, chain, namespace=namespace, kind=kind, name=name, content=content)

    async def find(self, namespace: str, kind: str, name: str) -> Live:
        """The declaration that runs under a name, with its content; an empty `kind` is any."""
        seen = await self.survey(namespace, kind, name, content=True)
        found = [each for each in seen.running() if each.key[2] == name and kind in ("", each.key[1])]
        if len(found) > 1:
            kinds = ", ".join(f"{each.key[1].lower()}/{name}" for each in found)
            raise InvalidInputError(f"{name} is the name of several workloads: say which of {kinds}")
        if not found:
            raise not_found(self._mesh, kind, name, namespace, seen)
        return open_live(found[0])

    async def apply(
        self,
        bundles: Sequence[Sequence[KubernetesObject]],
        *,
        dry_run: bool,
        report: Callable[[Outcome], None],
        ended: Ended | None = None,
    ) -> None:
        """Declare every one of `bundles`, in their order, telling `report` of each as it is done.

        What they mean for the mesh is worked out for all before the first is sent. One that cannot be stored does not
        keep the others from it; the first such error is raised at the end. With `ended`, which waits until what was
        deleted has ended, also what no declaration may change is changed: by deleting it and declaring it anew.
        """
        planned = [await self._plan(bundle, anew=ended is not None) for bundle in bundles]
        failures: list[CliError] = []
        for plan in planned:
            try:
                report(await self._carry_out(plan, dry_run=dry_run, ended=ended))
            except CliError as error:
                failures.append(error)
        if failures:
            raise _joined(failures)

    async def _carry_out(self, plan: _Plan, *, dry_run: bool, ended: Ended | None) -> Outcome:
        if isinstance(plan.change, Live):
            live = plan.change
            return Outcome(UNCHANGED, live.declaration.attested, live.spec, before=live)
        if not plan.anew or plan.live is None:
            return replace(await self.send(plan.change, dry_run=dry_run), before=plan.live)
        if dry_run or ended is None:
            outcome = await self.send(plan.change, dry_run=True)
        else:
            await ended(await self.delete(*plan.live.declaration.key))
            outcome = await self.declare_anew(plan.bundle, without=())
        return replace(outcome, before=plan.live, action="replaced")

    async def patch(self, live: Live, patch: Json, kind: PatchType, *, dry_run: bool) -> Outcome:
        """Change what a patch says, and nothing else."""
        return await self._change(live, changes.patched(live, patch, kind), "patched", dry_run=dry_run)

    async def plan(self, bundle: Sequence[KubernetesObject]) -> tuple[Live | None, Sequence[KubernetesObject]]:
        """What is live under the bundle's name, and what applying the bundle would make of it."""
        live, _ = await self._live(bundle[0])
        return live, bundle if live is None else changes.applied(live, bundle)

    async def scale(self, live: Live, replicas: int) -> Outcome:
        """Give a Deployment another number of replicas."""
        return await self._change(live, changes.scaled(live, replicas), "scaled")

    async def restart(self, live: Live) -> Outcome:
        """Replace every replica of a Deployment, one after the other."""
        when = datetime.fromtimestamp(self._mesh.session.mesh_time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return await self._change(live, changes.restarted(live, when), "restarted")

    async def undo(self, live: Live, to_revision: int) -> Outcome:
        """Go back to an earlier revision of a Deployment; 0 is the one before the present."""
        revisions = live.record.revisions
        if to_revision == 0:
            found = revisions[-2] if len(revisions) > 1 else None
        else:
            found = next((revision for revision in revisions if revision.number == to_revision), None)
        if found is None:
            known = ", ".join(str(revision.number) for revision in revisions)
            what = f"revision {to_revision}" if to_revision else "earlier revision"
            raise InvalidInputError(f"{subject(live.record)} has no {what}: it has {known}")
        return await self._change(
            live, changes.rolled_back(live, open_revision(live.declaration, found)), "rolled back"
        )

    async def delete(self, namespace: str, kind: str, name: str, *, uid: str = "", version: str = "") -> list[Outcome]:
        """Delete everything that is declared under a name, whichever of it runs.

        With a `uid` or `version` only if what runs under the name has these.
        """
        seen = await self.survey(namespace, kind, name)
        keys = dict.fromkeys(
            each.key for each in seen.declarations if each.key[2] == name and kind in ("", each.key[1])
        )
        live = [each for key in keys for each in seen.under(*key) if not each.deleted]
        if not live:
            raise not_found(self._mesh, kind, name, namespace, seen)
        if len({each.key for each in live}) > 1:
            kinds = ", ".join(sorted({f"{each.key[1].lower()}/{name}" for each in live}))
            raise InvalidInputError(f"{name} is the name of several workloads: say which of {kinds}")
        record = live[0].attested.record
        if uid not in ("", record.uid) or version not in ("", str(record.sequence)):
            raise CliError(
                f"{subject(record)} is not what was to be deleted: it has the uid {record.uid} and the resourceVersion "
                f"{record.sequence}; look at it with `beectl get {subject(record)} -o yaml`"
            )
        return [await self.send(changes.tombstone(each), dry_run=False) for each in live]

    async def _live(self, workload: KubernetesObject) -> tuple[Live | None, Sequence[Declaration]]:
        seen = await self.survey(workload.namespace, workload.kind, workload.name, content=True)
        under = seen.under(workload.namespace, workload.kind, workload.name)
        live = next((each for each in under if not each.deleted), None)
        return None if live is None else open_live(live), under

    async def _plan(self, bundle: Sequence[KubernetesObject], *, anew: bool) -> _Plan:
        live, under = await self._live(bundle[0])
        now = self._mesh.session.mesh_time_ms
        if live is None:
            return _Plan(bundle, None, self._created(bundle, under))
        wanted = changes.applied(live, bundle)
        try:
            return _Plan(bundle, live, changes.change(live, wanted, now) or live)
        except UnchangeableError:
            if not anew:
                raise
        return _Plan(wanted, live, self._created(wanted, under), anew=True)

    async def declare_anew(self, bundle: Sequence[KubernetesObject], *, without: Container[MachineId]) -> Outcome:
        """Declare what was deleted again, with no voters among the machines of `without`."""
        _, under = await self._live(bundle[0])
        return await self.send(self._created(bundle, under, without), dry_run=False)

    def _created(
        self, bundle: Sequence[KubernetesObject], earlier: Sequence[Declaration], without: Container[MachineId] = ()
    ) -> Change:
        """A new declaration of `bundle`, under a name that `earlier` ones had."""
        session, mesh_id = self._mesh.session, self._mesh.operator.certificate.mesh_id

        def voters(namespace: str, kind: str, name: str) -> list[MachineId]:
            return [machine for machine in session.guardians(namespace, kind, name) if machine not in without]

        return changes.create(mesh_id, bundle, earlier, session.mesh_time_ms, voters)

    async def _change(
        self, live: Live, bundle: Sequence[KubernetesObject], action: str, *, dry_run: bool = False
    ) -> Outcome:
        wanted = changes.change(live, bundle, self._mesh.session.mesh_time_ms, action)
        if wanted is None:
            return Outcome(UNCHANGED, live.declaration.attested, live.spec, before=live)
        return replace(await self.send(wanted, dry_run=dry_run), before=live)

    async def send(self, change: Change, *, dry_run: bool = False) -> Outcome:
        """Sign a change and have it stored."""
        operator = self._mesh.operator
        raw = attest(change.record, operator.certificate_bytes, operator.identity.signing)
        attested = AttestedRecord(change.record, operator.certificate, raw)
        message = Commit(raw, change.blocks, dry_run)
        stored = await commit(self._mesh, change.subject, attested, message)
        return Outcome(change.action, attested, change.spec, stored.warnings, forecast=stored.forecast)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What applying a bundle means for the mesh."""

    bundle: Sequence[KubernetesObject]
    live: Live | None
    change: Change | Live
    """What is live, if that is what the bundle says."""
    anew: bool = False
    """What is live has to end first."""


class NotFoundError(CliError):
    """Nothing is declared under the name."""


def not_found(mesh: Mesh, kind: str, name: str, namespace: str, seen: Survey) -> NotFoundError:
    """Nothing is declared under a name, as far as those know that answered."""
    what = f"{kind.lower() or 'workload'}/{name}"
    missing = f" ({mesh.absences(seen.silent)})" if seen.silent else ""
    return NotFoundError(
        f"{what} not found in namespace {namespace}{missing}: see `beectl get workloads -A` for what is declared"
    )


def _joined(failures: Sequence[CliError]) -> CliError:
    """One error for several: with the exit code they share, else that of a failure."""
    kinds = {type(failure) for failure in failures}
    return (kinds.pop() if len(kinds) == 1 else CliError)("\n".join(failure.message for failure in failures))
