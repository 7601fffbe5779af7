"""What was claimed beside what was found: every difference with its interval, coloured by verdict.

Drawn in notebook `00_scorecard`; the table is that of `claims.effects`. All ablations show `verdict_table`.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory
from pandas.io.formats.style import Styler

from hinas_nb.figures.style import CHANGED, INK, MUTED, SERIES, FigureError, Picture, themed

VERDICT_COLOURS = {"supports": SERIES[2], "contradicts": CHANGED, "undecided": SERIES[1], "no evidence yet": MUTED}
PUBLISHED, OURS = ("D", 0.16), ("o", -0.16)  # marker, and how far above its row
#: Of `claims.verdicts`, what a page has room for; the rest stands in the published table.
CLAIM, JUDGED = "it says", ("on the paper's evidence", "verdict")
BELOW = ("budget", "protocol", "note")
SHOWN = ["comparison", "images", "metric", "claimed", "published", JUDGED[0], "ours", "smallest detectable", JUDGED[1]]


@themed
def forest_plot(table: pd.DataFrame, panels: Sequence[str], title: str | None = None) -> Picture:
    """One row per claim and comparison, one panel per metric; the triangle points where the claim says.

    table: columns `group` (heading of rows), `label`, `panel`; `published`, `published_low`, `published_high`,
        `published_verdict`; `ours`, `low`, `high`, `verdict`; `direction` and `margin`, where the triangle stands.
        NaN for what is not known: a value without an interval is hollow.
    panels: which of `panel` to draw, left to right; each is an axis label with its unit.
    Raises FigureError for a table without a row in them.
    """
    table = table[table["panel"].isin(panels)]
    if table.empty:
        raise FigureError(f"table must have a row in {' or '.join(panels)}, got none")
    places, names = _places(table)
    width = 2.9 if len(panels) > 1 else 4.4
    figure = Picture(3.4 + width * len(panels), 1.1 + 0.235 * len(names), title)
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels):
        rows = table[table["panel"] == panel]
        y = [places[key] for key in zip(rows["group"], rows["label"])]
        axes.axvline(0, color=INK, lw=0.8, zorder=1)
        for direction, marker in ((1, ">"), (-1, "<")):
            side = rows["direction"] == direction
            axes.plot(rows["margin"][side], pd.Series(y, rows.index)[side], marker, ms=4, color="#C4C4C4", zorder=1)
        limits = _limits(rows)
        columns = ["published", "published_low", "published_high", "published_verdict"]
        _marks(axes, rows[columns], y, limits, *PUBLISHED)
        _marks(axes, rows[["ours", "low", "high", "verdict"]], y, limits, *OURS)
        axes.set(xlabel=panel, xlim=limits, ylim=(-len(names) + 0.4, 0.6))
        axes.set_yticks([-index for index in range(len(names))], ["" if heading else name for name, heading in names])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.patch.set_visible(False)  # headings reach over all panels
        axes.spines["left"].set_visible(False)
    _headings(figure, names)
    figure.legend(handles=_legend(table), loc="outside lower left", ncols=3, columnspacing=1.5)
    return figure


def verdict_table(table: pd.DataFrame) -> Styler:
    """`claims.verdicts` as a notebook shows it: each claim once, verdicts in colour, what else counts below."""
    shown = table.set_index([CLAIM, table.groupby(CLAIM, sort=False).cumcount()])[SHOWN].style.hide(level=1)
    claim = {"selector": "th.row_heading", "props": "text-align: left; vertical-align: top; min-width: 10em"}
    cells = {"selector": "td, th", "props": "text-align: left; padding: 0.3em 0.5em; font-size: 12px"}
    below = {"selector": "caption", "props": "caption-side: bottom; text-align: left; font-size: 12px"}
    counts = [f"{name}: {'; '.join(dict.fromkeys(filter(None, table[name])))}" for name in BELOW]
    shown = shown.hide(names=True).set_table_styles([cells, claim, below]).set_caption(". ".join(counts))
    return shown.map(lambda word: f"color: {VERDICT_COLOURS[word]}; font-weight: bold", subset=list(JUDGED))


def _places(table: pd.DataFrame) -> tuple[dict[tuple[str, str], int], list[tuple[str, bool]]]:
    """Heights of the rows, and top to bottom all names with whether they are headings."""
    places, names = {}, []
    for group, rows in table.groupby("group", sort=False):
        names.append((group, True))
        for label in dict.fromkeys(rows["label"]):
            places[group, label] = -len(names)
            names.append((label, False))
    return places, names


def _headings(figure: Picture, names: list[tuple[str, bool]]) -> None:
    """From the left edge over all panels."""
    axes = figure.axes[0]
    axes.set_zorder(1)
    place = blended_transform_factory(figure.transFigure, axes.transData)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for index, (name, heading) in enumerate(names):
        if heading:
            text = axes.text(
                0.01, -index - 0.12, name, transform=place, va="center", weight="bold", size=8, bbox=behind
            )
            text.set_in_layout(False)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """What is published with its intervals; of ours as much as leaves that readable."""
    numbers = rows[["published", "published_low", "published_high", "margin"]].stack()
    low, high = min(0.0, numbers.min()), max(0.0, numbers.max())
    ours = rows[["ours", "low", "high"]].stack()
    room = (high - low) / 2 or ours.abs().max()
    low, high = min(low, max(ours.min(), low - room)), max(high, min(ours.max(), high + room))
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad


def _marks(axes, rows: pd.DataFrame, y: list[int], limits: tuple[float, float], marker: str, above: float) -> None:
    """An arrow at the edge where the value lies beyond it."""
    low_edge, high_edge = limits
    for (value, low, high, verdict), place in zip(rows.itertuples(index=False), y):
        if pd.isna(value):
            continue
        colour, known = VERDICT_COLOURS[verdict], not pd.isna(low)
        if known:
            axes.hlines(place + above, low, high, color=colour, lw=1.4, zorder=2)
        shape = "<" if value < low_edge else ">" if value > high_edge else marker
        at = min(max(value, low_edge), high_edge)
        face = colour if known else "white"
        axes.plot(
            at, place + above, shape, ms=4.5, color=colour, mfc=face, mew=1.1, zorder=3, gid=verdict, clip_on=False
        )


def _legend(table: pd.DataFrame) -> list[Line2D]:
    def mark(marker: str, colour: str, label: str, face: str = "") -> Line2D:
        return Line2D([], [], marker=marker, ls="", ms=5, color=colour, mfc=face or colour, label=label)

    seen = {*table["verdict"][table["ours"].notna()], *table["published_verdict"][table["published"].notna()]}
    marks = [mark(PUBLISHED[0], INK, "published"), mark(OURS[0], INK, "ours")]
    marks += [mark("s", colour, verdict) for verdict, colour in VERDICT_COLOURS.items() if verdict in seen]
    marks += [mark("D", MUTED, "hollow: no interval", "white"), mark(">", "#C4C4C4", "the claim lies on this side")]
    return marks
