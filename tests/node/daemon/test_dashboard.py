"""The dashboard asks for metrics that there are, for all of them, and can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beemesh_node.daemon.metrics.exposition import Exposition
from tests.node.daemon.test_metrics import at_work, families, sources

DASHBOARD = Path(__file__).parents[3] / "dashboards" / "beemesh.json"


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def test_the_dashboard_asks_for_what_there_is_and_shows_all_of_it() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    metrics = [
        {family.name, *(sample.name for sample in family.samples)}
        for family in families(Exposition(sources(at_work())).text()).values()
    ]
    asked = set()
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            named = set(re.findall(r"\b(?:beemesh|process)_[a-z_]+", target["expr"]))
            assert named, target
            assert named <= set().union(*metrics), target
            asked |= named
    assert [names for names in metrics if not names & asked and not min(names).startswith("process_")] == []


def test_the_panels_of_the_dashboard_are_told_apart_and_explained() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [panel for panel in panels(dashboard) if panel["type"] != "row"]
    assert len({panel["id"] for panel in panels(dashboard)}) == len(list(panels(dashboard)))
    assert len({panel["title"] for panel in found}) == len(found)
    for panel in found:
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
