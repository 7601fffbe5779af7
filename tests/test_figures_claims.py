"""Every difference is drawn where it is, in the colour of its verdict, and none without a place on the axis."""

import math
import re

import pandas as pd
from matplotlib.colors import to_hex

from hinas_nb import figures
from hinas_nb.figures.claims import _SHOWN, _VERDICT_COLOURS
from hinas_nb.figures.style import PALE


def line(label, panel="PSNR (dB)", group="One claim", published=0.1, ours=0.2, verdict="undecided", **more):
    return {
        "group": group,
        "label": label,
        "panel": panel,
        "published": published,
        "published_low": published - 0.1,
        "published_high": published + 0.1,
        "published_verdict": "supports",
        "ours": ours,
        "low": ours - 0.1,
        "high": ours + 0.1,
        "verdict": verdict,
        "direction": 1,
        "margin": 0.0,
    } | more


def marks(figure, panel=0):
    """(x, y, marker, colour, face) of every value drawn, top to bottom."""
    drawn = [
        (one.get_xdata()[0], one.get_ydata()[0], one.get_marker(), one.get_color(), to_hex(one.get_mfc()))
        for one in figure.axes[panel].lines
        if one.get_gid() in _VERDICT_COLOURS
    ]
    return sorted(drawn, key=lambda mark: mark[1])


def test_both_sides_stand_in_their_row_in_the_colours_of_their_verdicts():
    table = pd.DataFrame([line("a", verdict="contradicts"), line("b", published=math.nan)])
    drawn = marks(figures.forest_plot(table, ["PSNR (dB)"]))
    colours = _VERDICT_COLOURS
    assert [(x, round(y), marker, colour) for x, y, marker, colour, _ in drawn] == [
        (0.1, 1, "D", colours["supports"]),
        (0.2, 1, "o", colours["contradicts"]),
        (0.2, 2, "o", colours["undecided"]),
    ]


def test_rows_are_shared_by_the_panels_and_headed_by_their_claim():
    table = pd.DataFrame([line("a"), line("a", "SSIM"), line("b", "SSIM"), line("a", group="Another claim")])
    figure = figures.forest_plot(table, ["PSNR (dB)", "SSIM"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["", "a", "b", "", "a"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["One claim", "Another claim"]
    assert [round(y) for _, y, *_ in marks(figure, 1)] == [1, 1, 2, 2]


def test_without_an_interval_a_mark_is_hollow():
    table = pd.DataFrame([line("a", low=math.nan, high=math.nan)])
    faces = [face for *_, face in marks(figures.forest_plot(table, ["PSNR (dB)"]))]
    assert faces == [_VERDICT_COLOURS["supports"].lower(), "#ffffff"]


def test_wild_intervals_of_ours_leave_the_published_readable():
    table = pd.DataFrame([line("a", ours=30.0, low=-50.0, high=110.0), line("b", ours=-30.0, low=-50.0, high=10.0)])
    figure = figures.forest_plot(table, ["PSNR (dB)"])
    low, high = figure.axes[0].get_xlim()
    assert -1 < low < 0 < high < 1
    assert [(x, marker) for x, _, marker, *_ in marks(figure)] == [(0.1, "D"), (high, ">"), (0.1, "D"), (low, "<")]


def test_the_triangle_points_to_the_claimed_side_from_the_margin():
    table = pd.DataFrame([line("a", margin=-0.05), line("b", direction=-1)])
    lines = figures.forest_plot(table, ["PSNR (dB)"]).axes[0].lines
    triangles = [(list(one.get_xdata()), one.get_marker()) for one in lines if one.get_color() == PALE]
    assert triangles == [([-0.05], ">"), ([0.0], "<")]


def test_the_table_names_a_claim_once_and_colours_both_verdicts():
    row = dict.fromkeys(_SHOWN, "") | {"verdict": "supports", "on the paper's evidence": "undecided", "where": "unseen"}
    row |= {"budget": "smoke", "protocol": "sr-standard", "note": "ours: on a part"}
    rows = [{"it says": says} | row for says in ("One claim", "One claim", "Another")]
    page = figures.verdict_table(pd.DataFrame(rows)).to_html()
    assert page.count(">One claim<") == 1 and page.count(">Another<") == 1 and "unseen" not in page
    assert page.count("budget: smoke. protocol: sr-standard. note: ours: on a part") == 1
    (cells,) = re.findall(rf"([^}}]*){{\s*color: {_VERDICT_COLOURS['supports']};", page)
    assert cells.count("#") == len(rows)
