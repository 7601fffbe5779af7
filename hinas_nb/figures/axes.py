"""Axes have here what several figures share: named rows and edges, logarithmic ticks, names beside marks, frames."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from hinas_nb.figures.style import INK, MUTED

#: The betas of one layer: {(level before, level): probability}, or rows [level before, level, probability].
Moves = Mapping[tuple[int, int], float] | Sequence[Sequence[float]]

#: Steps of a decade that are ticks where an axis is shorter than so many decades.
_STEPS = ((0.8, (1, 1.5, 2, 3, 4, 5, 7)), (1.6, (1, 2, 5)), (4.5, (1, 3)))
_DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (2, 9, 18, 30, 44)  # points between marker and name


def name_rows(axes, names: Sequence[str]) -> None:
    """Name the rows of a panel that stand at 0, 1, ... from the top down; no ticks, and no grid lines along them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def picture_frame(axes) -> None:
    """Take away what an image or a diagram does not need: ticks, grid and spines."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def log_ticks(axes, which: str) -> None:
    """Label logarithmic axes ("x", "y" or "xy"), whose data are drawn, with plain numbers as dense as there is room."""
    for axis in (getattr(axes, f"{name}axis") for name in which):
        low, high = axis.get_view_interval()
        decades = np.log10(high / low)
        steps = next((steps for limit, steps in _STEPS if decades < limit), (1,))
        axis.set_major_locator(LogLocator(subs=steps, numticks=5))
        axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.12g}"))
        axis.set_minor_formatter(NullFormatter())


def name_points(
    axes, xs: Sequence, ys: Sequence, names: Sequence, sizes, bold: Collection[str] = (), lines: Sequence = ()
) -> None:
    """Print `names` beside the data points (xs, ys), whose markers have `sizes` (points squared, as in scatter).

    Each name takes the first free place around its marker; a line leads to one that is far. Pixels decide what
    overlaps, so that the layout of the figure is fixed from here on.
    bold: names that stand out. lines: pairs of data points that horizontal or vertical lines join; names keep off them
        where they can.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72  # pixels per point
    points = np.column_stack([xs, ys]).astype(float)
    centres = axes.transData.transform(points)
    radii = np.sqrt(np.broadcast_to(sizes, len(centres))) / 2 * pixel
    ends = [axes.transData.transform(np.asarray(line, dtype=float)) for line in lines]
    taken = [Bbox([centre - radius, centre + radius]) for centre, radius in zip(centres, radii)]
    taken += [Bbox([line.min(axis=0), line.max(axis=0)]).padded(1) for line in ends]
    frame = axes.get_window_extent()

    for index in np.argsort(-centres[:, 1], kind="stable"):
        name = str(names[index])
        text = axes.annotate(
            name, points[index], xytext=(0, 0), textcoords="offset points", ha="center",
            va="center", fontsize=8, color=INK, fontweight="bold" if name in bold else "normal", zorder=5,
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
        extent = Text.get_window_extent(text)  # an annotation's own would hold its leader line too
        half = np.array([extent.width, extent.height]) / 2
        places = []
        for rank, (distance, way) in enumerate(product(_DISTANCES, _DIRECTIONS)):
            gap = radii[index] * (0.75 if all(way) else 1) + distance * pixel
            move = np.array(way) * (half + gap)
            box = Bbox([centres[index] + move - half, centres[index] + move + half])
            # Free first, then nearest to its own marker, then the nicest place.
            astray = np.linalg.norm(centres - centres[index] - move, axis=1).argmin() != index
            places.append(((_overlap(box, taken, frame), astray, rank), distance, move, box))
        _, distance, move, box = min(places, key=lambda place: place[0])
        text.set_position(move / pixel)
        text.arrow_patch.set_visible(distance > _DISTANCES[0])
        taken.append(box)


def edge_names(edges: int) -> list[str]:
    """Name a super-cell's edges, of which there are `edges`, in the order of `supercell.edges`."""
    nodes = next(nodes for nodes in range(1, edges + 1) if nodes * (nodes + 3) // 2 >= edges)
    return [f"{source_name(source)} → node {node}" for node in range(nodes) for source in range(2 + node)]


def source_name(source: int) -> str:
    """Say in words what an input of a node comes from."""
    return ("layer l-1", "layer l-2")[source] if source < 2 else f"node {source - 2}"


def move_weights(moves: Moves) -> dict[tuple[int, int], float]:
    """Return {(level before, level): probability} from the supernet's mapping or from a record's rows."""
    if isinstance(moves, Mapping):
        return {(int(a), int(b)): float(weight) for (a, b), weight in moves.items()}
    return {(int(a), int(b)): float(weight) for a, b, weight in moves}


def _overlap(box: Bbox, taken: list[Bbox], frame: Bbox) -> float:
    """Return how many square pixels of `box` lie on something or, tenfold, outside the frame; a margin of one pixel."""
    shared = [Bbox.intersection(box.padded(1), other) for other in taken]
    inside = Bbox.intersection(box, frame)
    outside = box.width * box.height - (inside.width * inside.height if inside else 0)
    return sum(part.width * part.height for part in shared if part) + 10 * outside
