"""Accuracy against milliseconds, found networks beside random ones; notebook `16_latency_aware_search`."""

import numpy as np
import pandas as pd

from hinas_nb.figures.style import MUTED, SERIES, FigureError, Picture, themed


@themed
def front_plot(table: pd.DataFrame, beside: str = "random", title: str | None = None) -> Picture:
    """A mark a network, coloured by kind; the front of what was found, and dashed that of kind `beside`.

    table: `kind`, `ms`, `psnr` (dB), as `fronts.networks` gives it. Raises FigureError where nothing is to be drawn.
    """
    if table.empty or not (table["ms"] > 0).all() or not np.isfinite(table["psnr"]).all():
        raise FigureError(
            "milliseconds must be positive and scores finite for at least one network, got none or others"
        )
    figure = Picture(7.2, 4.4, title)
    axes = figure.subplots()
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind != beside]
    for kind, colour in [*zip(kinds, SERIES), (beside, MUTED)]:
        own = table[table["kind"] == kind]
        marker = "o" if kind == beside else "D"
        axes.scatter(
            own["ms"], own["psnr"], s=34, marker=marker, color=colour, label=kind, zorder=2, gid=f"kind {kind}"
        )
    axes.margins(0.08, 0.1)
    right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    others = table["kind"] == beside
    for own, style, colour, name in (
        (table[~others], "-", SERIES[0], "found"),
        (table[others], (0, (4, 2)), MUTED, beside),
    ):
        _steps(axes, own, right, bottom, style, colour, f"front of {name}")
    axes.set(xlabel="milliseconds an image", ylabel="PSNR on V (dB)", ylim=(bottom, None))
    figure.legend(loc="outside lower center", ncols=min(6, len(kinds) + 1))
    return figure


def _steps(axes, own: pd.DataFrame, right: float, bottom: float, style, colour: str, gid: str) -> None:
    """What nobody of these beats: up from below, and on to the right."""
    ordered = own.sort_values(["ms", "psnr"], ascending=[True, False])
    front = ordered[ordered["psnr"] > ordered["psnr"].cummax().shift(fill_value=-np.inf)]
    xs = [*np.repeat(front["ms"].to_numpy(), 2).tolist(), right]
    ys = [bottom, *np.repeat(front["psnr"].to_numpy(), 2).tolist()]
    axes.plot(xs, ys, color=colour, ls=style, lw=1.1, zorder=1, gid=gid)
