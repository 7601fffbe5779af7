"""Scores and their changes image by image, and the change of PSNR against that of SSIM.

Drawn in notebook `05_train_and_restore` and in the ablations, notebooks 10 to 12.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hinas_nb.figures.axes import name_points
from hinas_nb.figures.style import ACCENT, INK, MUTED, PALE, SERIES, Picture, themed
from hinas_nb.scoring.units import METRICS

_NAMED_ON_AXIS = 24  # up to so many images are named on the axis
_NAMED_IN_CLOUD = 6  # images named in a cloud, those farthest out
#: (PSNR gains, SSIM gains): name and colour of a quadrant.
_QUADRANTS = {
    (True, True): ("both gain", SERIES[2]),
    (False, True): ("only SSIM gains", SERIES[0]),
    (True, False): ("only PSNR gains", SERIES[1]),
    (False, False): ("both lose", SERIES[5]),
}


@themed
def score_pairs(scores: pd.DataFrame, by: str = "model", title: str | None = None) -> Picture:
    """Draw every image's scores under each value of `by`, joined by a line; images in the last one's order.

    scores: tidy, one row per image and value of `by`, with columns `image`, `by`, `psnr` (dB) and `ssim`.
    """
    arms, images = scores[by].unique(), scores["image"].nunique()
    figure = Picture(min(4 + 0.12 * images, 9), 5.6, title)
    for axes, metric in zip(figure.subplots(2), ("psnr", "ssim")):
        wide = scores.pivot_table(index="image", columns=by, values=metric, aggfunc="mean")[arms]
        axes.set_ylabel(METRICS[metric].header)
        means = [f"{arm}, mean {METRICS[metric].number(wide[arm].mean())}" for arm in arms]
        _draw_images(axes, wide, means, [*SERIES[1 : len(arms)], SERIES[0]])
    return figure


@themed
def change_by_image(changes: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw what every image gains or loses under each arm; images in the order of the last arm's change.

    changes: one row per image and arm with `image`, `arm`, `psnr` (dB) and `ssim`, differences from a control.
    """
    arms, images = changes["arm"].unique(), changes["image"].nunique()
    figure = Picture(min(4.5 + 0.1 * images, 9), 5.2, title)
    for axes, metric in zip(figure.subplots(2), ("psnr", "ssim")):
        wide = changes.pivot_table(index="image", columns="arm", values=metric, aggfunc="mean")[arms]
        axes.axhline(0, color=INK, lw=0.8, zorder=1)
        axes.set_ylabel(f"change of {METRICS[metric].header}")
        _draw_images(axes, wide, [f"{arm}: {(wide[arm] > 0).sum()} of {images} gain" for arm in arms], SERIES)
    return figure


@themed
def change_scatter(changes: pd.DataFrame, title: str | None = None) -> Picture:
    """Draw the change of SSIM against that of PSNR, an image a dot, coloured by which of them gains.

    changes: one row per image: `image`, `psnr` (dB) and `ssim`, differences from a control; those farthest out are
        named.
    """
    figure = Picture(6.2, 4.4, title)
    axes = figure.subplots()
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
    for (psnr_gains, ssim_gains), (name, colour) in _QUADRANTS.items():
        inside = changes[((changes["psnr"] >= 0) == psnr_gains) & ((changes["ssim"] >= 0) == ssim_gains)]
        if len(inside):
            label = f"{name}: {len(inside)} of {len(changes)}"
            axes.scatter(inside["psnr"], inside["ssim"], s=16, color=colour, label=label, zorder=2, gid=name)
    middle = changes[["psnr", "ssim"]].mean()
    axes.plot(*middle, "+", ms=13, mew=2, color=ACCENT, zorder=3, label="mean of the images", gid="mean")
    axes.margins(0.18)  # room for names
    axes.set(xlabel=f"change of {METRICS['psnr'].header}", ylabel=f"change of {METRICS['ssim'].header}")
    figure.legend_below(2, handletextpad=0.2)

    spread = changes[["psnr", "ssim"]] / changes[["psnr", "ssim"]].std()
    named = changes.loc[np.hypot(spread["psnr"], spread["ssim"]).fillna(0).nlargest(_NAMED_IN_CLOUD).index]
    # The mean is a point without a name: names keep off it.
    points = pd.concat([named, middle.to_frame().T], ignore_index=True)
    name_points(axes, points["psnr"], points["ssim"], [*named["image"], ""], [16] * len(named) + [170])
    return figure


def _draw_images(axes, wide: pd.DataFrame, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Draw a dot per image and arm, images in the order of the last arm and named where they are few.

    wide: one row per image, one column per arm; a pale line joins what belongs to one image.
    """
    wide = wide.sort_values(wide.columns[-1])
    axes.vlines(range(len(wide)), wide.min(axis=1), wide.max(axis=1), color=PALE, lw=0.8, zorder=1)
    for arm, label, colour in zip(wide, labels, colours):
        axes.plot(range(len(wide)), wide[arm], "o", ms=3.5, color=colour, label=label, zorder=2, gid=f"arm {arm}")
    axes.set_xlim(-0.7, len(wide) - 0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.1)
    if len(wide) <= _NAMED_ON_AXIS:
        axes.set_xticks(range(len(wide)), wide.index, rotation=40, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel(f"{len(wide)} images, in the order of {wide.columns[-1]}")
