"""Measure how much of a score is the protocol: rungs from the field's standard to the released script (table 10).

**What averaging is worth.** Where a pixel is restored k times from independent noise and the results are averaged,
its squared error is b + v / k: v changes with the noise, b is fixed, what the restoration blurs away however often it
is repeated. Two Runs measure both, one restoration of whole images and the mean of two: MSE_1 = b + v and
MSE_2 = b + v / 2. Overlapping tiles of fresh noise restore a pixel k times where k of them lie, so that their error
must be b + v * mean(1 / k): foretold by averaging over how often a pixel is restored, before a single tile is.
(Rounding comes after averaging: its error is part of b.)

Notebook `23_protocol_audit` shows all of it.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hinas_nb.data import ImageSet
from hinas_nb.evidence import rivals, stats
from hinas_nb.experiment.config import Task, TrainConfig
from hinas_nb.experiment.profile import Profile
from hinas_nb.scoring import protocol
from hinas_nb.scoring.protocol import Protocol

STANDARD, RELEASED, _TWO_LOOKS = "standard", "released", "mean of two looks"
METRICS = ("psnr", "ssim")  # dB; unitless
_STEP = "{} px, {}"  # rungs of `averaging`: tile step, and which noise
_FRESH, _CUT = "fresh noise", "one noisy image"
_RELEASED_SCORE = {"output not rounded": {"round_output": False}, "SSIM zero-padded": {"ssim": "zero-padded"}}
#: From the standard to the released protocol, one switch after the other; the last one arrives there.
_CHAIN = {
    "denoise": {
        "tiles of one noisy image": {"tile": 64},
        "fresh noise for each tile": {"fresh_noise": True},
        **_RELEASED_SCORE,
        "grey by Pillow": {"grey": "pillow"},
    },
    "sr": {
        "red and blue swapped in Y": {"colour": "y-swapped"},
        "border scored too": {"border": 0},
        **_RELEASED_SCORE,
    },
}
#: One switch away from the standard.
_ALONE = {
    "denoise": {
        **_RELEASED_SCORE,
        "SSIM 7x7 uniform": {"ssim": "uniform"},
        "input clipped": {"noisy_range": "clipped"},
        "input 8-bit": {"noisy_range": "8-bit"},
        "half size": {"half_size": True},
    },
    "sr": {
        "scored on RGB": {"colour": "rgb"},
        "border scored too": {"border": 0},
        "border 6 px wider": {},  # of the scale: see `rungs`
        **_RELEASED_SCORE,
        "SSIM 7x7 uniform": {"ssim": "uniform"},
        "input by Pillow": {"downscale": "pillow"},
        "input by torch": {"downscale": "torch"},
        "input by torch, aliased": {"downscale": "torch-aliased"},
    },
}
_WIDER = 6  # pixels
#: What a smoke Run leaves of the switches alone, and of the tile steps: enough to see that all works.
_BRIEF = ("half size", "scored on RGB", "input by Pillow")
STEPS, BRIEF_STEPS = (64, 48, 32), (64, 48)


def networks(budget: Profile, task: Task, filters: Sequence[str] = (), **level) -> dict[str, TrainConfig | str]:
    """Return what is scored, by title, as a config's `model` takes it: HiNAS, its trained rival, then filters.

    The rival is the one nearest in cost: DnCNN narrowed to HiNAS's size, or FSRCNN; none where the profile names no
    paces. filters: titles of denoisers without training, of which those that are installed are taken; for sr bicubic.
    level: sigma or scale.
    """
    trained = rivals.trainings(budget, task, **level)
    rival = {title: one for title, one in trained.items() if getattr(one.genotype, "width", None)}
    if task == "sr":
        rival = {title: one for title, one in trained.items() if title == "FSRCNN"}
    found = {title: name for title, name in rivals.filters().items() if title in filters}
    free = found if task == "denoise" else {"bicubic": "input"}
    return {rivals.HINAS: trained[rivals.HINAS], **rival, **free}


def rungs(task: Task, brief: bool = False, **level) -> dict[str, Protocol]:
    """Return protocols by title: standard, on to released one switch after the other, then each switch alone.

    Titles of the way between begin with a plus but for the first, which is a switch alone too. brief: of those alone
    only the few of `_BRIEF`. level: sigma or scale.
    """
    rule = protocol.get(f"{task}-standard", **level)
    found = {STANDARD: rule}
    for number, (title, change) in enumerate(_CHAIN[task].items()):
        rule = rule.but(**change)
        found[f"+ {title}" if number else title] = rule
    found[RELEASED] = found.pop(list(found)[-1])
    for title, change in _ALONE[task].items():
        if brief and title not in _BRIEF:
            continue
        found[title] = found[STANDARD].but(**(change or {"border": found[STANDARD].scored_border + _WIDER}))
    return found


def averaging(sigma: float, steps: Sequence[int]) -> dict[str, Protocol]:
    """Return protocols by title: the mean of two restorations, and for each tile step fresh noise and one noisy image.

    All else is as in the standard.
    """
    standard = protocol.get("denoise-standard", sigma=sigma)
    tile = protocol.get("denoise-released").tile
    found = {_TWO_LOOKS: standard.but(averaged=2)}
    for step in steps:
        # The released step is written as the preset has it, so that its Runs are those of the rungs.
        tiles = standard.but(tile=tile, tile_step=None if step == tile * 3 // 4 else step)
        found |= {_STEP.format(step, _CUT): tiles, _STEP.format(step, _FRESH): tiles.but(fresh_noise=True)}
    return found


def steps_to_released(task: Task) -> dict[str, tuple[str, str]]:
    """Return the steps from standard to released: what is switched, and the titles of the rungs before and after."""
    titles = list(rungs(task, **({"scale": 4} if task == "sr" else {})))
    return dict(zip(_CHAIN[task], itertools.pairwise(titles[: len(_CHAIN[task]) + 1])))


def single_switches(task: Task, scores: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return each switch alone that was run, as steps from the standard; the first on the way to released is one."""
    titles = (next(iter(_CHAIN[task])), *_ALONE[task])
    return {title: (STANDARD, title) for title in titles if title in set(scores["rung"])}


def changes(scores: pd.DataFrame, steps: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return what each step does to the mean score of each network.

    scores: a row per network, rung and image. steps: rungs before and after. Columns: network, metric, step, start,
    end, change, low, high (95 % over images, paired).
    """
    rows = []
    for network, metric in itertools.product(scores["network"].unique(), METRICS):
        wide = scores[scores["network"] == network].pivot(index="image", columns="rung", values=metric)
        for step, (before, after) in steps.items():
            change = wide[after] - wide[before]
            numbers = (wide[before].mean(), wide[after].mean(), change.mean(), *stats.over_images(change))
            rows.append((network, metric, step, *numbers))
    return pd.DataFrame(rows, columns=["network", "metric", "step", "start", "end", "change", "low", "high"])


def margins(scores: pd.DataFrame, titles: Sequence[str]) -> pd.DataFrame:
    """Return how far each network is above the first one under each rung, and the rank it gets there.

    Columns: rung, metric, network, score, rank, margin, low, high (95 % over images, paired; 0 for the first).
    """
    names = list(scores["network"].unique())
    rows = []
    for rung, metric in itertools.product(titles, METRICS):
        wide = scores[scores["rung"] == rung].pivot(index="image", columns="network", values=metric)[names]
        ranks = wide.mean().rank(ascending=False, method="first").astype(int)
        for name in names:
            above = wide[name] - wide[names[0]]
            interval = stats.over_images(above)
            rows.append((rung, metric, name, wide[name].mean(), ranks[name], above.mean(), *interval))
    return pd.DataFrame(rows, columns=["rung", "metric", "network", "score", "rank", "margin", "low", "high"])


def orders(table: pd.DataFrame) -> pd.DataFrame:
    """`margins` as the order of the networks, best first. Columns: rung, metric, order, same (as the standard's)."""
    groups = table.groupby(["rung", "metric"], sort=False)
    found = groups[["network", "rank"]].apply(lambda rows: " > ".join(rows.sort_values("rank")["network"]))
    found = found.rename("order").reset_index()
    usual = found[found["rung"] == STANDARD].set_index("metric")["order"]
    return found.assign(same=found["order"] == found["metric"].map(usual))


def error_parts(scores: pd.DataFrame) -> pd.DataFrame:
    """Return b and v, the fixed and the noisy part of the squared error (images on 0-1), by network and image."""
    error = 10 ** (-scores.pivot(index=["network", "image"], columns="rung", values="psnr") / 10)
    noisy = 2 * (error[STANDARD] - error[_TWO_LOOKS])
    return pd.DataFrame({"fixed": error[STANDARD] - noisy, "noisy": noisy}).loc[list(scores["network"].unique())]


def noise_left(images: ImageSet, rule: Protocol) -> pd.Series:
    """Return the mean of 1 / k over the pixels of each image, where k tiles lie on a pixel; by name."""
    counts = (rule.looks(*image.shape[-2:]).double() for image in images.images)
    return pd.Series([(1 / count).mean().item() for count in counts], index=list(images.names), name="share")


def averaging_gain(error: pd.DataFrame, left: float | pd.Series) -> pd.Series:
    """Return what averaging is worth in dB where this share of noise is left; error: `error_parts`, one network's."""
    return 10 * np.log10((error["fixed"] + error["noisy"]) / (error["fixed"] + error["noisy"] * left))


def gains_foretold(scores: pd.DataFrame, images: ImageSet, sigma: float, steps: Sequence[int]) -> pd.DataFrame:
    """Return what tiles of fresh noise gain over those of one noisy image: foretold from `error_parts`, and measured.

    Columns: network, step, share (mean of 1 / k), foretold, measured, low, high (95 % over images), miss (foretold -
    measured); all gains in dB.
    """
    rules = averaging(sigma, steps)
    rows = []
    for network, error in error_parts(scores).groupby(level="network", sort=False):
        psnr = scores[scores["network"] == network].pivot(index="image", columns="rung", values="psnr")
        for step in steps:
            fresh, cut = _STEP.format(step, _FRESH), _STEP.format(step, _CUT)
            left = noise_left(images, rules[fresh])
            predicted, seen = averaging_gain(error.droplevel("network"), left), psnr[fresh] - psnr[cut]
            numbers = (predicted.mean(), seen.mean(), *stats.over_images(seen), predicted.mean() - seen.mean())
            rows.append((network, step, left.mean(), *numbers))
    columns = ["network", "step", "share", "foretold", "measured", "low", "high", "miss"]
    return pd.DataFrame(rows, columns=columns)


def gain_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the gain (dB) that `error_parts` foretell by the share of the noisy part that is left.

    Columns: network, share, gain.
    """
    shares = np.linspace(0.15, 1, 60)
    rows = []
    for network, error in error_parts(scores).groupby(level="network", sort=False):
        rows += [(network, left, averaging_gain(error, left).mean()) for left in shares]
    return pd.DataFrame(rows, columns=["network", "share", "gain"])
