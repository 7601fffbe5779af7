"""Every figure gets its look here and shows itself in a notebook; seen in every notebook."""

import base64
import io
import struct
import textwrap
from collections.abc import Iterator

import matplotlib
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

DPI = 150
#: The place of a figure on a notebook page: CSS pixels per inch, whatever the resolution of the bitmap.
CSS_PIXELS_PER_INCH = 88

#: One colour per kind of operation, the larger kernel darker; told apart by colour-blind readers and in grey.
OPERATION_COLOURS = {
    "conv_3": "#6FB1E4",
    "conv_5": "#0B559F",
    "sep_3": "#F5C04E",
    "sep_5": "#CF6A12",
    "dil_3": "#74CDB0",
    "dil_5": "#0F7A5C",
    "def_3": "#7C52A5",
    "skip": "#9C9C9C",
    "none": "#D6D6D6",
}
#: What a reader must see first: chosen, decoded, ours.
ACCENT = "#B5179E"
CHANGED = "#D7263D"
INK, MUTED, PALE, PAPER = "#222222", "#8A8A8A", "#C9C9C9", "#F6F6F4"
SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#777777")
SMALL = 7.5  # points of words beside marks
KEPT_BACK = "kept_back"  # marks output with photographs that are not ours to pass on
_LETTERS_PER_INCH = 10.5  # of a title

_THEME = (
    seaborn.axes_style("ticks")
    | seaborn.plotting_context("paper")
    | {
        "axes.grid": True,
        "axes.prop_cycle": cycler(color=SERIES),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 9,
        "axes.edgecolor": MUTED,
        "axes.formatter.useoffset": False,  # ticks that must be added to a number in a corner are not read
        "figure.dpi": DPI,
        "figure.titlesize": 11,
        "figure.titleweight": "bold",
        "font.family": "DejaVu Sans",  # matplotlib brings it: no font is looked up on the machine
        "font.size": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.6,
        "legend.fontsize": 8,
        "legend.edgecolor": "none",
        "legend.framealpha": 0.8,
        "legend.title_fontsize": 8,
        "lines.linewidth": 1.6,
        "text.parse_math": False,  # names of a user's images and folders may hold dollars
        "xtick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.color": MUTED,
        "ytick.labelcolor": INK,
        "svg.hashsalt": "hinas-nb",  # equal figures are equal files
    }
)
#: Decorates a drawing function: the theme holds while it runs and nothing global stays changed.
themed = matplotlib.rc_context(_THEME)


def shown_size(png: bytes) -> tuple[int, int]:
    """Return width and height of a bitmap on a page, in CSS pixels; zeros for what does not begin as a PNG."""
    if len(png) < 24 or not png.startswith(b"\x89PNG"):
        return 0, 0
    width, height = (round(count / DPI * CSS_PIXELS_PER_INCH) for count in struct.unpack(">II", png[16:24]))
    return width, height


class Picture(Figure):
    """A matplotlib figure outside pyplot: notebooks show it at the end of a cell, nothing has to close it.

    kept_back: it shows photographs that are not ours to pass on; copies of the notebook leave it out.
    """

    kept_back = False

    @themed
    def __init__(self, width: float, height: float, title: str | None = None):
        """Make an empty figure of `width` x `height` inches; `title` is the claim it makes, broken where it is long."""
        super().__init__(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
        if title:
            # Not `wrap=True`: matplotlib then reads dollars in a name as a formula, whatever the theme says.
            lines = (textwrap.fill(line, int(_LETTERS_PER_INCH * width)) for line in title.splitlines())
            self.suptitle("\n".join(lines), x=0.01, ha="left")

    def panels(
        self, table: pd.DataFrame, column: str, rows: int = 1, **options
    ) -> Iterator[tuple[Axes, str, pd.DataFrame]]:
        """Make one panel for each value of a column; returns axes, value and its part of the table, in its order.

        options: of `subplots`.
        """
        groups = list(table.groupby(column, sort=False))
        grid = self.subplots(rows, -(-len(groups) // rows), squeeze=False, **options).flat
        for empty in list(grid)[len(groups) :]:
            empty.remove()
        return ((axes, name, part) for axes, (name, part) in zip(self.axes, groups))

    def legend_below(self, columns: int = 4, **options) -> None:
        """Explain below all panels every label that any of them has, once."""
        named = {label: handle for axes in self.axes for handle, label in zip(*axes.get_legend_handles_labels())}
        self.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns, **options)

    def png(self) -> bytes:
        return self._rendered("png")

    def svg(self) -> bytes:
        return self._rendered("svg", metadata={"Date": None})

    def _repr_mimebundle_(self, include=None, exclude=None):
        # Not `_repr_png_`: the inline backend's own printer would go before it, and sizes are lost there.
        image = self.png()
        width, height = shown_size(image)
        content = {"image/png": base64.b64encode(image).decode(), "text/plain": repr(self)}
        marked = {KEPT_BACK: True} if self.kept_back else {}
        return content, {"image/png": {"width": width, "height": height}} | marked

    @themed
    def _rendered(self, kind: str, **options) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format=kind, bbox_inches="tight", pad_inches=0.08, **options)
        return buffer.getvalue()
