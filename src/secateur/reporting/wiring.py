"""The architecture as a drawing: each layer as wide as it was and is, and the wires between them.

One row a layer, from input to output. Grey is the width before, the accent that after; a wire that
leaves out rows runs beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.record import Node
from secateur.reporting.svg import picture, tag

_MOST = 220
_ROW, _BAR = 22.0, 11.0
_SPINE, _REACH = 350.0, 130.0
_LANES = 8
_LANE = 9.0
_WIDTH = 720.0


def wiring(nodes: Sequence[Node]) -> Markup | None:
    """Draw the network; None where there is nothing to see, or too much to."""
    if not 1 < len(nodes) <= _MOST:
        return None
    row = {node.name: place for place, node in enumerate(nodes, start=1)}
    most = max(max(node.before, node.after) for node in nodes) or 1
    drawn = [_wire(a, b) for a, b in _steps(nodes, row)]
    drawn += _detours(nodes, row)
    drawn.append(_end("input", 0))
    drawn += [_node(node, row[node.name], most) for node in nodes]
    drawn.append(_end("output", len(nodes) + 1))
    cut = sum(node.after < node.before for node in nodes if not node.merges)
    return picture(
        drawn,
        width=_WIDTH,
        height=_ROW * (len(nodes) + 2),
        title="The architecture, with every width before and after",
        description=f"{units.plural(len(nodes), 'node')}, {cut} of them narrower than before; "
        "the table below has the figures",
        class_="wiring",
    )


def _steps(nodes: Sequence[Node], row: dict[str, int]) -> list[tuple[int, int]]:
    """Return the wires between rows that follow each other."""
    found = [(len(nodes), len(nodes) + 1)]
    for place, node in enumerate(nodes, start=1):
        read = [row[name] for name in node.inputs if name in row] or [0]
        found += [(one, place) for one in read if place - one == 1]
    return found


def _detours(nodes: Sequence[Node], row: dict[str, int]) -> list[Markup]:
    """Draw the wires that leave out rows, each in the first free lane, short ones inside."""
    wires = []
    for place, node in enumerate(nodes, start=1):
        read = [row[name] for name in node.inputs if name in row] or [0]
        wires += [(one, place) for one in read if place - one > 1]
    taken: list[list[tuple[int, int]]] = [[] for _ in range(_LANES)]
    drawn = []
    for start, end in sorted(wires, key=lambda wire: wire[1] - wire[0]):
        free = (n for n, lane in enumerate(taken) if all(end <= a or b <= start for a, b in lane))
        lane = next(free, _LANES - 1)
        taken[lane].append((start, end))
        edge = _SPINE - _REACH - 12 - _LANE * lane
        top, bottom = _middle(start), _middle(end)
        path = (
            f"M{_SPINE - 4:.0f} {top + 7:.1f}H{edge + 6:.1f}q-6 0 -6 6V{bottom - 13:.1f}"
            f"q0 6 6 6H{_SPINE - 4:.0f}"
        )
        drawn.append(tag("path", d=path, class_="wire"))
    return drawn


def _wire(start: int, end: int) -> Markup:
    return tag("line", x1=_SPINE, x2=_SPINE, y1=_middle(start), y2=_middle(end), class_="wire")


def _node(node: Node, place: int, most: int) -> Markup:
    middle = _middle(place)
    widths = units.whole(node.before)
    if node.after != node.before:
        widths += f" → {units.whole(node.after)}"
    said = f"{node.name} ({node.kind}): {widths}" if node.kind else f"{node.name}: {widths}"
    if node.merges:
        shapes = [tag("circle", cx=_SPINE, cy=middle, r=4.0, class_="meets")]
    else:
        shapes = []
        for name, value in (("before", node.before), ("after", node.after)):
            half = max(1.0, _REACH * value / most) if value else 0.0
            shapes.append(
                tag(
                    "rect",
                    x=_SPINE - half,
                    y=middle - _BAR / 2,
                    width=2 * half,
                    height=_BAR,
                    rx=2,
                    class_=name,
                )
            )
    name = node.name if len(node.name) <= 24 else f"…{node.name[-23:]}"
    label = tag("text", name, x=4, y=middle + 4, class_="merge" if node.merges else "layer")
    figures = tag("text", widths, x=_SPINE + _REACH + 16, y=middle + 4)
    kind = tag("text", node.kind, x=_WIDTH - 4, y=middle + 4, text_anchor="end")
    return tag("g", tag("title", said), *shapes, label, figures, kind)


def _end(name: str, place: int) -> Markup:
    return tag("text", name, x=_SPINE, y=_middle(place) + 4, text_anchor="middle", class_="end")


def _middle(place: int) -> float:
    return _ROW * place + _ROW / 2
