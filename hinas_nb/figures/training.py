"""What a training did: loss, learning rate and the scores on V (section 4.1).

Drawn in notebook `05_train_and_restore`. Records are what `train.train` yields, one per validation.
"""

import pandas as pd
from matplotlib.ticker import LogFormatter

from hinas_nb.figures.style import ACCENT, SERIES, FigureError, Picture, themed

PANELS = (
    ("loss", "Loss", "eq. 7, mean"),
    ("lr", "Learning rate", "at the validation"),
    ("validation_psnr", "PSNR on V", "dB"),
    ("validation_ssim", "SSIM on V", "unitless"),
)


@themed
def training_curves(records, title: str | None = None) -> Picture:
    """Small multiples over the steps; the validation whose weights were kept is marked in all of them.

    Raises FigureError without records.
    """
    table = pd.DataFrame(records)
    if table.empty:
        raise FigureError("records must hold at least one validation, got none")
    kept = table[table["best"].astype(bool)].iloc[-1:]
    figure = Picture(9, 4.6, title)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (name, label, unit) in zip(panels.flat, PANELS):
        axes.plot(table["step"], table[name], color=SERIES[0], marker="o" if len(table) <= 20 else "")
        axes.plot(kept["step"], kept[name], "*", ms=12, color=ACCENT, gid="kept", clip_on=False)
        axes.set(title=label, ylabel=unit)
    for axes in panels[1]:
        axes.set_xlabel("step")
    panels[0, 0].set_yscale("log")
    panels[0, 0].yaxis.set_major_formatter(LogFormatter(labelOnlyBase=False))  # the default writes formulas
    panels[0, 0].yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    if len(kept):
        best = kept.iloc[0]
        panels[1, 0].set_title(f"PSNR on V: {best['validation_psnr']:.2f} at step {best['step']}")
        panels[1, 1].set_title(f"SSIM on V: {best['validation_ssim']:.4f}")
    return figure
