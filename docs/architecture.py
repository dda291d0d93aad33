"""The picture of docs/architecture.md, drawn from the imports: python docs/architecture.py"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import grimp
from matplotlib.figure import Figure

PACKAGES = ("edge_runtime", "core", "compress", "export")
HERE = Path(__file__).parent
WIDTH, HEIGHT, GAP = 2.6, 0.62, 0.32


def room_of(module: str) -> str:
    """Return the sub-package of a module, or its package."""
    parts = module.split(".")
    folder = HERE.parent / Path(*parts[:2])
    return ".".join(parts[:2]) if len(parts) > 1 and folder.is_dir() else parts[0]


def floors(rooms: list[str], below: dict[str, set[str]]) -> dict[str, int]:
    """Put every room above all that it imports; a package's own files stand beside its rooms."""
    found: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in found:
            found[room] = 0
            inside = [other for other in below[room] if other in rooms and other != room]
            found[room] = max((floor(other) + 1 for other in inside), default=0)
        return found[room]

    for room in rooms:
        floor(room)
    return found


def main() -> None:
    """Write docs/architecture.svg."""
    graph = grimp.build_graph(*PACKAGES)
    below: dict[str, set[str]] = defaultdict(set)
    files: dict[str, int] = defaultdict(int)
    for module in graph.modules:
        files[room_of(module)] += 1
        for other in graph.find_modules_directly_imported_by(module):
            below[room_of(module)].add(room_of(other))
    figure = Figure(figsize=(11.6, 6.6), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    tallest = 0.0
    for column, package in enumerate(PACKAGES):
        rooms = [room for room in files if room.split(".")[0] == package and room != package]
        inside = {room: below[room] & set(rooms) for room in rooms}
        levels = floors(rooms, defaultdict(set, inside))
        ordered = sorted(rooms, key=lambda room: (levels[room], room))
        left = column * (WIDTH + 1.1)
        places = {}
        for row, room in enumerate([package, *ordered]):
            bottom = row * (HEIGHT + GAP)
            places[room] = bottom
            own = room == package
            axes.add_patch(_box(left, bottom, "#e8eef4" if own else "#ffffff"))
            name = "own files" if own else f"{room.split('.')[1]}/"
            axes.text(left + 0.14, bottom + HEIGHT / 2, name, va="center", fontsize=11)
            count = f"{files[room] - 1} files"
            axes.text(left + WIDTH - 0.14, bottom + HEIGHT / 2, count, va="center", ha="right",
                      fontsize=8, color="#5b6570")  # fmt: skip
        for room in ordered:
            for other in below[room] & set(ordered):
                if other != room:
                    _arrow(axes, left + WIDTH, places[room], places[other])
        top = len(ordered) * (HEIGHT + GAP) + HEIGHT
        tallest = max(tallest, top)
        axes.text(left, top + 0.22, package, fontsize=14, fontweight="bold")
        if column:
            axes.annotate("", (left - 0.85, -0.55), (left, -0.55), arrowprops={"arrowstyle": "->"})
    axes.text(
        0,
        -0.95,
        "Imports point down inside a package, and to the left between packages.",
        fontsize=9,
    )
    axes.set(xlim=(-0.3, 4 * (WIDTH + 1.1) - 0.7), ylim=(-1.2, tallest + 0.7))
    figure.savefig(HERE / "architecture.svg", metadata={"Date": None})


def _box(left: float, bottom: float, colour: str) -> object:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        (left, bottom), WIDTH, HEIGHT, boxstyle="round,pad=0.02,rounding_size=0.08",
        facecolor=colour, edgecolor="#9aa5b0",
    )  # fmt: skip


def _arrow(axes: object, right: float, start: float, end: float) -> None:
    axes.annotate(  # type: ignore[attr-defined]
        "",
        (right, end + HEIGHT / 2),
        (right, start + HEIGHT / 2),
        arrowprops={
            "arrowstyle": "->", "color": "#0b63b0", "connectionstyle": "arc3,rad=-0.45", "lw": 0.9,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
