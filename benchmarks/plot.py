"""Draws how the cost of a delivery grows with members, runs and bytes, as one SVG, from results.json's content.

Law: drawing only, without a library, so that the plot can be made wherever the benchmarks run.
"""

import statistics
from html import escape
from pathlib import Path

from benchmarks.report import Results
from benchmarks.workloads import PER_CPU, WORKLOADS, Workload

WIDTH, HEIGHT = 300, 240
LEFT, TOP, BOTTOM = 46, 34, 40
COLOURS = {"collabd": "#0b6e4f", "uwebsockets": "#c0392b"}
FAMILIES = {"members": "members of one run", "runs": "runs of 10 members", "bytes": "bytes of data a message"}
Points = list[tuple[str, float]]


def cost_points(results: Results, workloads: list[Workload], server: str) -> Points:
    """(label, µs of CPU a delivery) for each workload of a family that this server was measured in."""
    points = []
    for workload in workloads:
        rates = results.get(workload.name, {}).get(server, {}).get(PER_CPU)
        if rates:
            points.append((f"{workload.scale:,}", 1e6 / statistics.median(rates)))
    return points


def nice_top(value: float) -> float:
    """The next of 1, 2, 5 × a power of ten."""
    power = 10.0 ** (len(str(int(value))) - 1 if value >= 1 else -1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def panel(x: int, title: str, lines: dict[str, Points]) -> list[str]:
    """One chart: equal steps along the x axis (the scale is logarithmic by choice of sizes), µs upwards from 0."""
    top = nice_top(max(cost for points in lines.values() for _, cost in points) * 1.05)
    floor, span = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    parts = [f'<text x="{x + LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for share in (0, 0.5, 1):
        y = floor - share * span
        parts.append(f'<line x1="{x + LEFT}" x2="{x + WIDTH - 14}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{x + LEFT - 6}" y="{y + 4}" text-anchor="end">{top * share:g}</text>')
    for first, (server, points) in enumerate(lines.items()):
        step = (WIDTH - LEFT - 50) / max(len(points) - 1, 1)
        places = [(x + LEFT + 16 + i * step, floor - cost / top * span) for i, (_, cost) in enumerate(points)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[server]}" stroke-width="2"/>')
        for (px, py), (label, cost) in zip(places, points, strict=True):
            tip = f"<title>{server}: {cost:.2f} µs</title>"
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{COLOURS[server]}">{tip}</circle>')
            if not first:
                parts.append(f'<text x="{px:.1f}" y="{floor + 16}" text-anchor="middle">{label}</text>')
    return parts


def draw(results: Results) -> str:
    """The SVG's text; empty when nothing of the growth was measured."""
    panels: list[str] = []
    count = 0
    for family, title in FAMILIES.items():
        workloads = [workload for workload in WORKLOADS.values() if workload.family == family]
        lines = {server: cost_points(results, workloads, server) for server in COLOURS}
        lines = {server: points for server, points in lines.items() if points}
        if lines:
            panels += panel(count * WIDTH, title, lines)
            count += 1
    if not count:
        return ""
    legend = "".join(
        f'<rect x="{LEFT + i * 130}" y="{HEIGHT - 14}" width="10" height="10" fill="{colour}"/>'
        f'<text x="{LEFT + 15 + i * 130}" y="{HEIGHT - 5}">{server}</text>'
        for i, (server, colour) in enumerate(COLOURS.items())
    )
    unit = f'<text x="{LEFT + 280}" y="{HEIGHT - 5}">µs of server CPU a delivery (median)</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{count * WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
        f' font-size="11"><title>µs of server CPU for one delivery</title>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(panels)}{legend}{unit}</svg>\n'
    )


def write(results: Results, file: Path) -> bool:
    """Write the plot; False when there was nothing to draw."""
    if svg := draw(results):
        file.write_text(svg)
    return bool(svg)
