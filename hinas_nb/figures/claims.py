"""Draw what was claimed beside what was found: every difference with its interval, coloured by verdict.

Drawn in notebook `00_scorecard`; the table is that of `claims.judge`. All ablations show `verdict_table`.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory
from pandas.io.formats.style import Styler

from hinas_nb.figures.axes import name_rows
from hinas_nb.figures.style import CHANGED, INK, MUTED, PALE, SERIES, Picture, themed

#: Blue, red and orange are told apart by colour-blind readers, green and red are not.
_VERDICT_COLOURS = {"supports": SERIES[0], "contradicts": CHANGED, "undecided": SERIES[1], "no evidence yet": MUTED}
#: Columns of value, ends of the interval and verdict; marker, and how far above its row it stands.
_PUBLISHED = ["published", "published_low", "published_high", "published_verdict"], "D", 0.16
_OURS = ["ours", "low", "high", "verdict"], "o", -0.16
#: Of `claims.readable`, what a page has room for; the rest stands in the published table.
_CLAIM, _JUDGED = "it says", ("on the paper's evidence", "verdict")
_BELOW = ("budget", "protocol", "note")
_SHOWN = [
    "comparison", "images", "metric", "claimed", "published", _JUDGED[0], "ours", "smallest detectable", _JUDGED[1],
]  # fmt: skip


@themed
def forest_plot(table: pd.DataFrame, panels: Sequence[str], title: str | None = None) -> Picture:
    """Draw one row per claim and comparison, one panel per metric; a triangle points where the claim says.

    table: columns `group` (heading of rows), `label`, `panel`; `published`, `published_low`, `published_high`,
        `published_verdict`; `ours`, `low`, `high`, `verdict`; `direction` and `margin`, where the triangle stands.
        NaN for what is not known: a value without an interval is hollow.
    panels: which of `panel` to draw, left to right; each is an axis label with its unit.
    """
    table = table[table["panel"].isin(panels)]
    rows_of = table.groupby("group", sort=False)["label"].unique()
    lines = [(group, label) for group, labels in rows_of.items() for label in (None, *labels)]  # None: its heading
    figure = Picture(3.4 + (2.9 if len(panels) > 1 else 4.4) * len(panels), 1.1 + 0.235 * len(lines), title)
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels):
        rows = table[table["panel"] == panel]
        y = pd.Series([lines.index(key) for key in zip(rows["group"], rows["label"])], rows.index, dtype=float)
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        for direction, marker in ((1, ">"), (-1, "<")):
            side = rows["direction"] == direction
            axes.plot(rows["margin"][side], y[side], marker, ms=4, color=PALE, zorder=1)
        name_rows(axes, [label or "" for _, label in lines])
        axes.set(xlabel=panel, xlim=_limits(rows))
        for columns, marker, above in (_PUBLISHED, _OURS):
            _draw_marks(axes, rows[columns], y - above, marker)
        axes.patch.set_visible(False)  # headings reach over all panels
        axes.spines["left"].set_visible(False)
    _draw_headings(figure, [(y, group) for y, (group, label) in enumerate(lines) if label is None])
    figure.legend(handles=_legend(table), loc="outside lower left", ncols=3, columnspacing=1.5)
    return figure


def verdict_table(table: pd.DataFrame) -> Styler:
    """Show `claims.readable` in a notebook: each claim once, verdicts in colour, what else counts below."""
    shown = table.set_index([_CLAIM, table.groupby(_CLAIM, sort=False).cumcount()])[_SHOWN].style.hide(level=1)
    claim = {"selector": "th.row_heading", "props": "text-align: left; vertical-align: top; min-width: 10em"}
    cells = {"selector": "td, th", "props": "text-align: left; padding: 0.3em 0.5em; font-size: 12px"}
    below = {"selector": "caption", "props": "caption-side: bottom; text-align: left; font-size: 12px"}
    counts = [f"{name}: {'; '.join(dict.fromkeys(filter(None, table[name])))}" for name in _BELOW]
    shown = shown.hide(names=True).set_table_styles([cells, claim, below]).set_caption(". ".join(counts))
    return shown.map(lambda word: f"color: {_VERDICT_COLOURS[word]}; font-weight: bold", subset=list(_JUDGED))


def _draw_headings(figure: Picture, headings: list[tuple[int, str]]) -> None:
    """Print names of groups from the left edge over all panels."""
    axes = figure.axes[0]
    axes.set_zorder(1)
    look = {"transform": blended_transform_factory(figure.transFigure, axes.transData), "va": "center", "size": 8}
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for y, name in headings:
        axes.text(0.01, y + 0.12, name, weight="bold", bbox=behind, **look).set_in_layout(False)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Return ends that show what is published with its intervals, and of ours as much as leaves that readable."""
    numbers = rows[["published", "published_low", "published_high", "margin"]].stack()
    low, high = min(0.0, numbers.min()), max(0.0, numbers.max())
    ours = rows[["ours", "low", "high"]].stack()
    room = (high - low) / 2 or ours.abs().max()
    low, high = min(low, max(ours.min(), low - room)), max(high, min(ours.max(), high + room))
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad


def _draw_marks(axes, rows: pd.DataFrame, y: pd.Series, marker: str) -> None:
    """Draw values with their intervals; an arrow stands at the edge where the value lies beyond it."""
    left, right = axes.get_xlim()
    for place, (value, low, high, verdict) in zip(y, rows.itertuples(index=False)):
        if pd.isna(value):
            continue
        colour = _VERDICT_COLOURS[verdict]
        axes.hlines(place, low, high, color=colour, lw=1.4, zorder=2)  # nothing where the interval is not known
        shape = "<" if value < left else ">" if value > right else marker
        look = {"color": colour, "mfc": "white" if pd.isna(low) else colour, "ms": 4.5, "mew": 1.1}
        axes.plot(min(max(value, left), right), place, shape, zorder=3, gid=verdict, clip_on=False, **look)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    seen = {*table["verdict"][table["ours"].notna()], *table["published_verdict"][table["published"].notna()]}
    marks = [("D", INK, INK, "published"), ("o", INK, INK, "ours")]
    marks += [("s", colour, colour, verdict) for verdict, colour in _VERDICT_COLOURS.items() if verdict in seen]
    marks += [("D", MUTED, "white", "hollow: no interval"), (">", PALE, PALE, "the claim lies on this side")]
    return [
        Line2D([], [], marker=marker, ls="", ms=5, color=colour, mfc=face, label=label)
        for marker, colour, face, label in marks
    ]
