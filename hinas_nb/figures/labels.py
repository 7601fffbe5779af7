"""Names beside markers without overlap: each takes the first free place around its marker."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from hinas_nb.figures.style import INK, MUTED

DIRECTIONS = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
DISTANCES = (2, 9, 18, 30, 44)  # points between marker and name


def place_labels(
    axes, xs: Sequence, ys: Sequence, names: Sequence[str], sizes: Sequence, bold: Sequence[bool], lines: Sequence = ()
):
    """Print `names` at data points (xs, ys) whose markers have `sizes` (points squared, as in scatter).

    lines: pairs of data points that horizontal or vertical lines join; names keep off them where they can.
    Ends with the layout of the figure fixed: pixels decide what overlaps.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72  # pixels per point
    centres = axes.transData.transform(np.column_stack([xs, ys]).astype(float))
    radii = np.sqrt(np.asarray(sizes, dtype=float)) / 2 * pixel
    taken = [Bbox([centre - radius, centre + radius]) for centre, radius in zip(centres, radii)]
    ends = [axes.transData.transform(np.asarray(line, dtype=float)) for line in lines]
    taken += [Bbox([line.min(axis=0), line.max(axis=0)]).padded(1) for line in ends]
    legend = axes.get_legend()
    if legend:
        taken.append(legend.get_window_extent())
    frame = axes.get_window_extent()

    for index in np.argsort(-centres[:, 1], kind="stable"):
        text = axes.annotate(
            names[index], (xs[index], ys[index]), xytext=(0, 0), textcoords="offset points", ha="center",
            va="center", fontsize=8, color=INK, fontweight="bold" if bold[index] else "normal", zorder=5,
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
        extent = Text.get_window_extent(text)  # an annotation's own would hold its leader line too
        half = np.array([extent.width, extent.height]) / 2
        best = None
        for rank, (distance, way) in enumerate(product(DISTANCES, DIRECTIONS)):
            gap = radii[index] * (0.75 if all(way) else 1) + distance * pixel
            move = np.array(way) * (half + gap)
            box = Bbox([centres[index] + move - half, centres[index] + move + half])
            # Free first, then nearest to its own marker, then the nicest place.
            astray = np.linalg.norm(centres - centres[index] - move, axis=1).argmin() != index
            cost = (_overlap(box, taken, frame), astray, rank)
            if best is None or cost < best[0]:
                best = (cost, distance, move, box)
        _, distance, move, box = best
        text.set_position(move / pixel)
        text.arrow_patch.set_visible(distance > DISTANCES[0])
        taken.append(box)


def _overlap(box: Bbox, taken: list[Bbox], frame: Bbox) -> float:
    """Pixels of `box` that lie on something or outside the frame, with a margin of one pixel."""
    shared = [Bbox.intersection(box.padded(1), other) for other in taken]
    inside = Bbox.intersection(box, frame)
    outside = box.width * box.height - (inside.width * inside.height if inside else 0)
    return sum(part.width * part.height for part in shared if part) + 10 * outside
