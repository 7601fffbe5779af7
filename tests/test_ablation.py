"""Arms side by side: one search serves all degradations, differences are paired, nothing is shown that was not run."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from made_up_runs import noted
from safetensors.torch import save_file

from hinas_nb import data, figures, locations
from hinas_nb.batch import contract, planning
from hinas_nb.evidence import ablation, effects, paper_effects
from hinas_nb.experiment.config import EvaluateConfig, TrainConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run, canonical, grid
from hinas_nb.method.genotype import Genotype, widths
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.reporting import alike
from hinas_nb.running.store import Store
from hinas_nb.scoring import metrics, protocol, showcase
from hinas_nb.scoring.showcase import Showcase

PLAIN = Genotype((0, 0, 0), (((("conv_3", 0), ("sep_3", 1)),) * 4,) * 3)


def scored(rows) -> pd.DataFrame:
    """(arm, seed, image, psnr) as `collect` returns them; SSIM is a hundredth of the PSNR."""
    table = pd.DataFrame(rows, columns=["arm", "seed", "image", "psnr"])
    return table.assign(task="denoise", data="photos", degradation=50.0, ssim=table["psnr"] / 100)


TWO_SEEDS = [
    ("basic", 0, "a", 20.0), ("basic", 0, "b", 30.0), ("basic", 1, "a", 21.0), ("basic", 1, "b", 33.0),
    ("LWAS", 0, "a", 20.5), ("LWAS", 0, "b", 30.1), ("LWAS", 1, "a", 21.5), ("LWAS", 1, "b", 33.1),
]  # fmt: skip


def cells(*rows) -> pd.DataFrame:
    columns = ["arm", "task", "data", "degradation", "metric", "value", "deviation", "flag"]
    return pd.DataFrame(rows, columns=columns)


# Axes


@pytest.mark.parametrize("task, field", [("denoise", "sigma"), ("sr", "scale")])
def test_one_search_serves_every_degradation(task, field):
    budget = load_profile("paper")
    base = budget.evaluate(budget.train(task, budget.search(task)))
    runs = grid(base, degradation=ablation.degradations(budget, task), seed=[0, 1])
    assert {run.config.model.genotype for run in runs} == {budget.search(task, seed=seed) for seed in (0, 1)}
    for run in runs:
        value = run.labels["degradation"]
        assert getattr(run.config.model, field) == getattr(run.config.protocol, field) == value
        training = budget.train(task, budget.search(task, seed=run.labels["seed"]), seed=run.labels["seed"])
        assert run.config == budget.evaluate(training.but(**{field: value}))


def test_named_sets_are_those_of_super_resolution():
    budget = load_profile("paper")
    denoising, sr = (budget.evaluate(budget.train(task, budget.search(task))) for task in ("denoise", "sr"))
    assert list(ablation.scored_on(sr, ["Set5", "Urban100"])) == ["Set5", "Urban100"]
    assert list(ablation.scored_on(sr)) == ["B100"]
    assert list(ablation.scored_on(denoising, ["Set5"])) == ["BSDS500"]
    (run,) = grid(sr, data=ablation.scored_on(sr, ["Set5"]))
    assert run.config.data == "Set5" and run.config.model == sr.model


# Tables


def test_deviation_is_over_seeds_of_means_over_images():
    table = ablation.summary(scored(TWO_SEEDS)).set_index(["arm", "metric"])
    basic = table.loc["basic", "psnr"]
    assert (basic["mean"], basic["seeds"]) == (26.0, 2)
    assert basic["deviation"] == pytest.approx(math.sqrt(2))  # of 25 and 27
    assert table.loc["LWAS", "ssim"]["mean"] == pytest.approx(0.2630)
    one = ablation.summary(scored(TWO_SEEDS[:2]))
    assert one["deviation"].isna().all()


def test_cells_that_one_side_lacks_stay_and_say_so(monkeypatch):
    published = cells(
        ("basic", "denoise", "BSDS500", 50.0, "psnr", 26.70, 0.17, ""),
        ("basic", "denoise", "photos", 50.0, "psnr", 25.00, math.nan, "misprint"),
        ("another", "denoise", "BSDS500", 50.0, "psnr", 1.0, 0.0, ""),
        ("basic", "sr", "Set5", 4, "psnr", 31.0, 0.0, ""),
    )
    monkeypatch.setattr(paper_effects, "of_arms", lambda number: published)
    table = ablation.beside(scored(TWO_SEEDS), [1])
    ((number, wide),) = ablation.printed(table, {"denoise": 1, "sr": 2}, "smoke")
    wide = wide.set_index(["arm", "scores"])
    psnr, theirs = "photos, sigma 50: PSNR (dB)", "BSDS500, sigma 50: PSNR (dB)"
    assert number == 1 and list(wide.columns) == [psnr, "photos, sigma 50: SSIM", theirs]
    assert wide.loc[("basic", "ours"), psnr] == "26.00 ± 1.41"
    assert wide.loc[("basic", "published"), psnr] == "25.00 (!)"
    assert wide.loc[("LWAS", "published"), psnr] == "not published"
    assert wide.loc[("basic", "ours"), theirs] == "not run at smoke"
    assert wide.loc[("basic", "published"), theirs] == "26.70 ± 0.17"
    assert wide.loc[("LWAS", "ours"), theirs] == "not run at smoke"
    assert list(dict.fromkeys(table["arm"])) == ["basic", "LWAS"], "the paper's order, then what it lacks"


# Differences


def test_changes_of_an_image_are_means_over_seeds():
    changes = ablation.image_changes(scored(TWO_SEEDS), "basic").set_index("image")
    assert changes["psnr"].to_dict() == pytest.approx({"a": 0.5, "b": 0.1})
    assert set(changes["arm"]) == {"LWAS"}


def test_gaps_and_unknown_arms_are_refused():
    with pytest.raises(ValueError, match="every arm must score every image with every seed, got a gap at image b"):
        ablation.image_changes(scored(TWO_SEEDS[:-1]), "basic")
    with pytest.raises(ValueError, match="control must be one of basic, LWAS, got 'ResL'"):
        ablation.image_changes(scored(TWO_SEEDS), "ResL")


# Networks


def evaluation(seed: int = 0, **changes) -> EvaluateConfig:
    training = TrainConfig(genotype=PLAIN, data="photos", split="train", validation="validation", seed=seed, **changes)
    return EvaluateConfig(model=training, data="photos", protocol=protocol.get("denoise-standard"))


def test_sizes_are_the_published_counts_of_facts(tmp_path, monkeypatch):
    widths = {"ws": {}, "w40": {"width_factors": (2.0,)}}
    runs = [
        Run(evaluation(seed, **changes), {"task": "denoise", "degradation": 50.0, "arm": arm, "seed": seed})
        for arm, changes in widths.items()
        for seed in (0, 1)
    ]
    found = ablation.networks([*runs, *runs], Store(tmp_path))
    assert list(found["live"]) == [209_569, 209_569, 452_369, 452_369], "width 20 and 40, each training once"
    assert list(found["parameters_m"]) == [0.209569, 0.209569, 0.452369, 0.452369], "at the published width, as here"
    published = cells(("w40", "denoise", "BSDS500", 30.0, "parameters_m", 0.57, math.nan, ""))
    monkeypatch.setattr(paper_effects, "of_arms", lambda number: published)
    sizes = ablation.sizes(found, [3]).set_index("arm")
    assert list(sizes["live (M)"]) == ["0.21", "0.452"]
    assert list(sizes["published (M)"]) == ["not published", "0.57"]


def test_every_arm_restores_the_same_degraded_image(tmp_path):
    store = Store(tmp_path)
    both = {"first": evaluation(0, base_width=4), "second": evaluation(1, base_width=4)}
    torch.manual_seed(0)
    for config in both.values():
        net = DerivedNetwork(PLAIN, base_width=4)
        folder = store.folder(config.model).path
        folder.mkdir(parents=True)
        save_file(net.state_dict(), folder / "weights.safetensors", {"hinas": json.dumps(net.metadata())})
        noted(folder)  # done
    shown = ablation.across(both, store, showcase.cut(data.load("photos", "test"), "camera", 64, 64, 48), "camera")
    names, pictures = zip(*shown.columns)
    assert names == ("clean", "noisy, sigma 50", "first", "second")
    for picture, line in zip(pictures[1:], shown.lines[1:]):
        score = metrics.psnr(picture, pictures[0], both["first"].protocol).item()
        assert line.startswith(f"{score:.2f} dB")
    assert not torch.equal(pictures[2], pictures[3])


def test_one_run_per_arm_is_chosen():
    runs = [Run(evaluation(seed), {"arm": arm, "seed": seed}) for arm, seed in (("a", 0), ("a", 1), ("b", 1))]
    assert ablation.evaluations(runs, seed=1) == {"a": runs[1].config, "b": runs[2].config}
    for labels, found in (({}, "3 Runs of 2 arms"), ({"seed": 7}, "0 Runs of 0 arms")):
        with pytest.raises(ValueError, match=f"labels must choose one Run per arm, got {found}"):
            ablation.evaluations(runs, **labels)


def test_images_are_the_papers_and_the_extremes():
    gains = pd.Series({"a": 0.1, "b": -0.2, "c": 0.3})
    shown = ablation.chosen_images(["a", "b", "c", "d"], ["d", "c", "x"], gains)
    assert shown == {
        "d": "shown in the paper", "c": "shown in the paper, the highest change", "b": "the lowest change"
    }  # fmt: skip


def test_panels_name_their_images_and_gains(tmp_path, monkeypatch):
    runs = [
        Run(evaluation(seed), {"task": "denoise", "data": "photos", "degradation": 50.0, "arm": arm, "seed": 7})
        for arm, seed in (("basic", 0), ("LWAS", 1))
    ]
    monkeypatch.setattr(ablation, "across", lambda compared, *_: Showcase([*compared.items()], ["", ""], None))
    gains = pd.DataFrame({"image": ["camera", "coffee"], "psnr": [0.25, -0.5], "arm": "LWAS"})
    gains = gains.assign(task="denoise", data="photos", degradation=50.0)
    monkeypatch.setattr(figures, "image_panel", lambda columns, *_, **how: columns)
    shelf = SimpleNamespace(figure=lambda *given: given)
    shown = list(alike.panels(shelf, runs, Store(tmp_path), gains, 7, ["chelsea", "101027"], 128))
    assert [title for *_, title in shown] == [
        "chelsea (photos, sigma 50): shown in the paper, not among those scored",
        "coffee (photos, sigma 50): the lowest change, LWAS -0.50 dB",
        "camera (photos, sigma 50): the highest change, LWAS +0.25 dB",
    ]
    columns, name, _ = shown[0]
    assert [arm for arm, _ in columns] == ["basic", "LWAS"] and name == "panel-denoise-photos-chelsea"


# Words


def test_an_effect_is_said_with_its_interval_or_without():
    found = effects.of_scores(scored(TWO_SEEDS), [("LWAS", "basic")])
    assert ablation.in_words(found.iloc[0]) == "PSNR +0.30 [+0.30, +0.30] dB"
    single = effects.of_scores(scored([row for row in TWO_SEEDS if row[1] == 0]), [("LWAS", "basic")])
    assert ablation.in_words(single.iloc[1]) == "SSIM +0.0030"
    shown = ablation.readable(paper_effects.beside(single, [1]))
    assert set(shown["published [95 %]"]) == {"not published"}
    assert set(shown["smallest detectable"]) == {"needs two seeds"}
    assert set(shown["comparison"]) == {"LWAS - basic"} and set(shown["images"]) == {"photos, sigma 50"}


# The notebooks' grids


def planned(number: str, profile: str, **values) -> list[Run]:
    (path,) = (locations.home() / "notebooks").glob(f"{number}_*.ipynb")
    found = planning.plan(planning.Job(contract.read(path), {"profile": profile, **values}))
    assert found.error is None, found.error
    return found.runs


def key(config) -> str:
    return json.dumps(canonical(config.identity()), sort_keys=True)


def test_layerwise_and_residual_are_searched_and_trained_alike():
    runs = planned("10", "laptop", tasks=["denoise"])
    assert len(runs) == 5 * 3 and len({key(run.config) for run in runs}) == 15
    for run in runs:
        training, search = run.config.model, run.config.model.genotype
        assert training.residual == search.space.residual == (run.labels["arm"] in ("ResL", "both"))
        assert search.space.layerwise == (run.labels["arm"] in ("LWAS", "both"))
        assert (search.strategy == "random") == (run.labels["arm"] == "RSWS")
        assert training.seed == search.seed == run.labels["seed"] and run.config.every == 5


def test_fixed_widths_scale_with_the_budget():
    for profile, width in (("smoke", 8), ("laptop", 20), ("paper", 20)):
        runs = {run.labels["arm"]: run.config.model for run in planned("11", profile)}
        found = {}
        for arm, training in runs.items():
            space = training.genotype.space
            ladder = widths(training.base_width, training.width_factors)
            found[arm] = [ladder[level] for level in space.levels or ()]
            assert 2 * space.base_width == training.base_width and space.width_factors == training.width_factors
        assert found == {"ws": [], "w40": [2 * width] * 3, "wm": [width, 2 * width, 4 * width]}


def test_only_the_training_loss_changes_with_lambda():
    budget = load_profile("laptop")
    runs = planned("12", "laptop", tasks=["denoise"])
    base = budget.evaluate(budget.train("denoise", budget.search("denoise", seed=0), sigma=50))
    axes = {"ssim_weight": {w: {"train.ssim_weight": w} for w in budget.lambdas}, "train.seed": list(budget.seeds)}
    assert {key(run.config) for run in runs} == {key(run.config) for run in grid(base, **axes)}
    assert len(runs) == 6
