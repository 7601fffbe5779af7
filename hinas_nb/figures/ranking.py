"""Draw what shared weights say of architectures that are then trained alone; notebook `15_search_stability`."""

import numpy as np
import pandas as pd

from hinas_nb.figures.axes import name_points
from hinas_nb.figures.style import ACCENT, SERIES, Picture, themed
from hinas_nb.scoring.units import METRICS


@themed
def ranking_plot(table: pd.DataFrame, words: dict[str, str] | None = None, title: str | None = None) -> Picture:
    """Draw every architecture's PSNR with shared weights against that trained alone, a panel for each supernet.

    table: one row per architecture and supernet: `supernet`, `architecture`, `shared` and `alone` (dB).
    words: under the name of a supernet, such as its tau.
    """
    label = METRICS["psnr"].header
    figure = Picture(1 + 3.2 * table["supernet"].nunique(), 3.4, title)
    for axes, name, rows in figure.panels(table, "supernet", sharey=True):
        axes.scatter(rows["shared"], rows["alone"], s=26, color=SERIES[0], zorder=2, gid="architectures")
        if rows["shared"].nunique() > 1:
            ends = np.array([rows["shared"].min(), rows["shared"].max()])
            slope, base = np.polyfit(rows["shared"], rows["alone"], 1)
            axes.plot(ends, slope * ends + base, color=ACCENT, lw=1, ls="--", zorder=1)
        axes.margins(0.12)
        axes.locator_params(axis="x", nbins=4)  # scores with shared weights can lie close together
        said = (words or {}).get(name)
        axes.set(title=f"{name}\n{said}" if said else name, xlabel=f"with shared weights: {label}")
    figure.axes[0].set_ylabel(f"trained alone: {label}")
    for axes, (_, rows) in zip(figure.axes, table.groupby("supernet", sort=False)):
        name_points(axes, rows["shared"], rows["alone"], [*rows["architecture"]], 26)
    return figure
