"""Accuracy against milliseconds, found networks beside random ones; notebook `16_latency_aware_search`."""

import itertools

import numpy as np
import pandas as pd

from hinas_nb.figures.style import INK, MUTED, SERIES, FigureError, Picture, themed

MARKERS = "DsP^v"  # the next one where colours are used up


@themed
def front_plot(table: pd.DataFrame, beside: str = "random", title: str | None = None) -> Picture:
    """Draw a mark a network, coloured by kind; the front of what was found, and dashed that of kind `beside`.

    table: `kind`, `ms`, `psnr` (dB), as `fronts.networks` gives it. Raises FigureError where nothing is to be drawn.
    """
    if table.empty:
        raise FigureError("networks to draw must be at least one, got none")
    bad = table[~((table["ms"] > 0) & np.isfinite(table["ms"]) & np.isfinite(table["psnr"]))]
    if len(bad):
        first = bad.iloc[0]
        raise FigureError(
            "milliseconds must be positive and finite, and scores finite, "
            f"got {first['ms']:g} ms and {first['psnr']:g} dB of {first['kind']}"
        )
    figure = Picture(7.2, 4.4, title)
    axes = figure.subplots()
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind != beside]
    looks = [*zip(kinds, itertools.product(MARKERS, SERIES)), (beside, ("o", MUTED))]
    for kind, (marker, colour) in looks:
        own = table[table["kind"] == kind]
        if len(own):
            axes.scatter(
                own["ms"], own["psnr"], s=34, marker=marker, color=colour, label=kind, zorder=2, gid=f"kind {kind}"
            )
    axes.margins(0.08, 0.1)
    (left, right), bottom = axes.get_xlim(), axes.get_ylim()[0]
    others = table["kind"] == beside
    for own, style, colour, name in (
        (table[~others], "-", INK, "found"),
        (table[others], (0, (4, 2)), MUTED, beside),
    ):
        if len(own):
            _steps(axes, own, right, bottom, style, colour, f"front of {name}")
    axes.set(xlabel="milliseconds an image", ylabel="PSNR on V (dB)", xlim=(left, right), ylim=(bottom, None))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _steps(axes, own: pd.DataFrame, right: float, bottom: float, style, colour: str, name: str) -> None:
    """Draw what nobody of these beats: up from below, and on to the right."""
    ordered = own.sort_values(["ms", "psnr"], ascending=[True, False])
    front = ordered[ordered["psnr"] > ordered["psnr"].cummax().shift(fill_value=-np.inf)]
    xs = [*np.repeat(front["ms"].to_numpy(), 2).tolist(), right]
    ys = [bottom, *np.repeat(front["psnr"].to_numpy(), 2).tolist()]
    axes.plot(xs, ys, color=colour, ls=style, lw=1.1, zorder=1, label=name, gid=name)
