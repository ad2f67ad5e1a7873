"""Draws what a simulation found: how long healing took, and what a mesh costs as it grows. One SVG, no library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from beemesh_node.simulation.run import Outcome
from beemesh_node.simulation.scale import Point

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 34, 38
INK, GRID, MARK = "#222", "#ddd", "#1f6feb"

Pair = tuple[float, float]


def picture(outcome: Outcome, points: Sequence[Point]) -> str:
    """Return an SVG: time to heal and to drain, and what depends on the size of the mesh."""
    scenario = outcome.scenario
    panels = [
        _distribution("Time to heal", outcome.times.healed),
        _distribution("Excess drained after a partition", outcome.times.drained),
        _distribution("Calm until all is as declared", outcome.converged),
        _growth("Worst time to heal after a machine's death (s)", points, lambda point: point.heal),
        _growth("Machines asked for each task", points, lambda point: point.bids_per_task),
        _growth("Beats of each machine in a second", points, lambda point: point.probes),
        _growth("Other messages of each machine in a second", points, lambda point: point.messages),
    ]
    rows = math.ceil(len(panels) / 3)
    title = f"seed {scenario.seed}: {scenario.machines} machines, {outcome.virtual / 60:.1f} minutes of virtual time"
    placed = [
        f'<g transform="translate({number % 3 * WIDTH},{30 + number // 3 * HEIGHT})">{panel}</g>'
        for number, panel in enumerate(panels)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDTH} {30 + rows * HEIGHT}" '
            f'font-family="sans-serif" font-size="11" fill="{INK}">',
            '<rect width="100%" height="100%" fill="white"/>',
            f'<text x="12" y="20" font-size="14">{escape(title)}</text>',
            *placed,
            "</svg>",
        ]
    )


def _distribution(title: str, seconds: Sequence[float]) -> str:
    """Which share of the times is at most how long."""
    ordered = sorted(seconds)
    if not ordered:
        return _panel(f"{title}: none", [], 1.0, 100.0, ("s", "%"), log=False)
    pairs = [(value, 100.0 * (number + 1) / len(ordered)) for number, value in enumerate(ordered)]
    text = f"{title}: {len(ordered)}, worst {ordered[-1]:.1f} s"
    return _panel(text, pairs, max(ordered[-1], 0.1), 100.0, ("s", "%"), log=False)


def _growth(title: str, points: Sequence[Point], of: Callable[[Point], float]) -> str:
    pairs = [(float(point.machines), of(point)) for point in points]
    highest = max((value for _, value in pairs), default=0.0)
    return _panel(title, pairs, pairs[-1][0], max(highest * 1.4, 0.1), ("machines", ""), log=True, dots=True)


def _panel(
    title: str,
    pairs: Sequence[Pair],
    most_x: float,
    most_y: float,
    units: tuple[str, str],
    *,
    log: bool,
    dots: bool = False,
) -> str:
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    least_x = min((x for x, _ in pairs), default=1.0) if log else 0.0

    def across(x: float) -> float:
        if not log:
            return LEFT + inner_width * x / most_x
        span = math.log(most_x / least_x) or 1.0
        return LEFT + inner_width * math.log(x / least_x) / span

    def up(y: float) -> float:
        return TOP + inner_height * (1 - y / most_y)

    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        y = most_y * step / 4
        parts.append(f'<path d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{up(y) + 4:.1f}" text-anchor="end">{y:.3g}{units[1]}</text>')
    marks = [x for x, _ in pairs] if log else [most_x * step / 4 for step in range(5)]
    for x in marks:
        label = f"{x:.0f}" if log else f"{x:.3g}"
        parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - 22}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{units[0]}</text>')
    if pairs:
        line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in pairs)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{MARK}" stroke-width="2"/>')
    if dots:
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{MARK}"/>' for x, y in pairs]
    return "".join(parts)
