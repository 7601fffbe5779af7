"""The training loop: golden steps, schedules, what decays, what is kept."""

import math
from unittest.mock import Mock

import pytest
import torch
from pictures_for_tests import DoublePairs, image_set

from hinas_nb import comparators
from hinas_nb.data import ImageSet
from hinas_nb.experiment.config import Comparator, TrainConfig
from hinas_nb.method import network
from hinas_nb.method.genotype import random_genotype
from hinas_nb.running import compute
from hinas_nb.running.store import RunFolder
from hinas_nb.settings import ConfigError
from hinas_nb.training import hardware
from hinas_nb.training.hardware import has_compiler
from hinas_nb.training.loops import score, validate, validation_pairs
from hinas_nb.training.train import _State, learning_rate, train

GENOTYPE = random_genotype(2, 2, torch.Generator().manual_seed(0))
#: Losses of the first three steps. If these move, old Runs must not be served: raise REVISIONS["train"].
GOLDEN = [0.5752821, 0.6376917, 0.696504]


def config(**changes):
    small = {"base_width": 3, "patch": 16, "batch": 2, "steps": 12, "validate_every": 4, "data": "folder:/pictures"}
    return TrainConfig(**({"genotype": GENOTYPE, "split": "all", "optimizer": "adamw"} | small | changes))


def state(**changes):
    return _State(config(**changes), GENOTYPE, image_set(3), image_set(1, seed=1), torch.device("cpu"))


def run(tmp_path, **changes):
    place = RunFolder(tmp_path, config(**changes), "0" * 64, {})
    place.begin("cpu", 1)
    settings = config(**changes)
    genotype = None if isinstance(settings.genotype, Comparator) else GENOTYPE
    return list(train(settings, genotype, image_set(3), image_set(1, seed=1), place)), place


def test_golden_steps():
    training = state()
    training.net.double().train()
    training.pairs = DoublePairs(training.pairs)
    assert [training._step(step) for step in range(3)] == pytest.approx(GOLDEN, rel=1e-6)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_compiled_steps_are_the_same():
    small, losses = random_genotype(1, 1, torch.Generator().manual_seed(0)), []
    for compiled in (False, True):
        training = _State(config(compiled=compiled), small, image_set(3), image_set(1, seed=1), torch.device("cpu"))
        training.net.train()
        losses.append([training._step(step) for step in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_compiling_without_a_compiler_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(hardware, "has_compiler", lambda: False)
    with pytest.raises(ValueError, match=r"torch.compile needs a C\+\+ compiler, got none"):
        state(compiled=True)


@pytest.mark.parametrize(
    ("device", "asked", "able", "mixed"),
    [
        ("cuda", None, False, True), ("cuda", "float32", False, False), ("cuda", "bfloat16", False, True),
        ("cpu", None, True, False), ("cpu", "bfloat16", True, True), ("cpu", "bfloat16", False, False),
    ],
)  # fmt: skip
def test_mixed_precision_is_the_default_on_cuda_and_a_choice_elsewhere(device, asked, able, mixed, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: seen.append((kind, dtype, enabled)))
    monkeypatch.setattr(hardware, "multiplies_bfloat16", lambda kind: kind != "cpu" or able)
    hardware.autocast(torch.device(device), asked)
    assert seen == [(device, torch.bfloat16, mixed)]


@pytest.mark.parametrize("able", [True, False])
def test_a_precision_that_is_not_had_is_said(able, monkeypatch):
    monkeypatch.setattr(compute, "multiplies_bfloat16", lambda device: able)
    said = list(compute._warnings(config(precision="bfloat16"), "cpu"))
    assert [line.split(" needs")[0] for line in said] == ([] if able else ["precision bfloat16"])
    assert not list(compute._warnings(config(), "cpu"))


def test_batches_go_to_cuda_from_pinned_memory():
    images, calls = Mock(), []
    images.pin_memory.return_value.to.side_effect = lambda device, non_blocking: calls.append((device, non_blocking))
    hardware.to_device(images, torch.device("cuda"))
    assert calls == [(torch.device("cuda"), True)]
    batch = torch.rand(1, 1, 2, 2)
    assert torch.equal(hardware.to_device(batch, torch.device("cpu")), batch)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd"},
        {"precision": "bfloat16"},
        {"fold": 2, "near_identity": True},
        {"task": "sr", "scale": 2, "lr": 5e-4},
    ],
)
def test_training_lowers_the_loss(tmp_path, changes):
    records, _ = run(tmp_path, steps=60, validate_every=20, **changes)
    assert [record.step for record in records] == [20, 40, 60]
    assert records[-1].loss < records[0].loss


def test_the_weights_best_on_v_are_written(tmp_path):
    records, place = run(tmp_path, steps=24)
    best = max(records, key=lambda r: score(r.validation_psnr, r.validation_ssim))
    assert [r for r in records if r.best][-1] is best
    net = network.load(place.path / "weights.safetensors")
    found = validate(net, state().validation, config(), torch.device("cpu"))
    assert found == pytest.approx((best.validation_psnr, best.validation_ssim), rel=1e-5)
    assert net.trained["sigma"] == 50 and net.trained["task"] == "denoise" and net.genotype == GENOTYPE


def test_patches_restored_exactly_are_left_out_of_the_mean():
    clean = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    degraded = clean + 0.1
    degraded[1] = clean[1]

    def mean(pairs):
        return validate(lambda images: images, pairs, config(), torch.device("cpu"))[0]

    pairs = clean / 2, degraded / 2
    assert mean(pairs[::-1]) == pytest.approx(-20 * math.log10(0.05), abs=1e-4)
    assert mean((clean, clean)) == math.inf


def test_a_range_of_sigmas_is_drawn_told_and_kept(tmp_path):
    ranged = {"sigma_range": (5.0, 50.0), "noise_map": True, "fold": 2}
    training = state(**ranged)
    degraded, clean = training.pairs.batch(0)
    assert degraded.shape == (2, 2, 16, 16) and clean.shape == (2, 1, 16, 16)
    told = degraded[:, 1].flatten(1)
    assert bool((told == told[:, :1]).all()) and 5 / 255 <= float(told.min()) < float(told.max()) <= 50 / 255
    spread = (degraded[:, :1] - clean).flatten(1).std(dim=1)
    assert torch.allclose(spread, told[:, 0], rtol=0.2)
    sigmas = training.validation[0][:, 1, 0, 0] * 255
    assert sigmas[:5].tolist() == pytest.approx([5, 16.25, 27.5, 38.75, 50])
    _, place = run(tmp_path, **ranged)
    net = network.load(place.path / "weights.safetensors")
    assert (net.fold, net.noise_map) == (2, True)
    assert net.trained["sigma"] is None and net.trained["sigma_range"] == [5, 50]


def test_a_comparator_trains_with_its_noise_map(tmp_path):
    """FFDNet is told sigma; as it predicts the picture, not the noise, a few steps lower the loss by much."""
    ffdnet = {"genotype": Comparator(name="ffdnet", width=4), "base_width": None, "noise_map": True}
    records, place = run(tmp_path, sigma_range=(0.0, 75.0), steps=60, validate_every=20, lr=5e-3, **ffdnet)
    assert records[-1].loss < 0.8 * records[0].loss
    assert comparators.load(place.path / "weights.safetensors").noise_map


@pytest.mark.parametrize(("changes", "line"), [
    ({"sigma": 50.0, "sigma_range": (5.0, 50.0)}, r"sigma \(or sigma_range, not both\) belongs to denoising"),
    ({"sigma_range": (50.0, 5.0)}, r"sigma_range must be \(lowest, highest\), got \(50.0, 5.0\)"),
    ({"task": "sr", "scale": 2, "noise_map": True}, "noise_map belongs to denoising, got task sr"),
    ({"task": "sr", "scale": 2, "fold": 2}, "fold belongs to denoising, got fold 2 for task sr"),
    ({"genotype": Comparator(name="ffdnet"), "noise_map": False}, "noise_map must be True for ffdnet, got False"),
    ({"genotype": Comparator(name="dncnn"), "base_width": None, "fold": 2}, "fold belongs to a genotype's network"),
    ({"validation_crop": 32, "validation_patches": 4}, "validation_patches must be None where validation_crop is 32"),
    ({"fold": 3}, "fold: Input should be 2 or 4, got 3"),
])  # fmt: skip
def test_settings_that_contradict_are_refused(changes, line):
    with pytest.raises(ConfigError, match=line):
        config(**changes)


def test_learning_rates():
    sgd, cycle = config(optimizer="sgd", steps=1000), config(steps=1000)
    assert learning_rate(sgd, 0) == 0.05 and learning_rate(sgd, 500) == pytest.approx(0.05 * 0.5**0.9)
    rates = [learning_rate(cycle, step) for step in range(1000)]
    assert max(rates) == rates[100] == 2e-3 and rates[0] == pytest.approx(8e-5) and rates[-1] < 1e-5
    assert rates[:101] == sorted(rates[:101]) and rates[100:] == sorted(rates[100:], reverse=True)


def test_only_kernels_decay():
    groups = state().optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [4e-5, 0]
    assert all(p.ndim == 4 for p in groups[0]["params"]) and all(p.ndim == 1 for p in groups[1]["params"])


def test_a_loss_that_is_not_finite_stops_with_one_line():
    training = state()
    with torch.no_grad():
        training.net.output.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"loss must stay finite, got nan at step 0; lower lr=0\.002"):
        training._step(0)


def test_seeds_draw_other_weights_and_batches_but_the_same_v():
    one, two = state(seed=1), state(seed=2)
    assert not torch.equal(one.net.output.weight, two.net.output.weight)
    assert not torch.equal(one.pairs.batch(0)[1], two.pairs.batch(0)[1])
    assert torch.equal(one.validation[0], two.validation[0])


SIGMAS = (30.0, 50.0, 70.0)


@pytest.mark.parametrize(("kept", "sigmas"), [(18, SIGMAS), (8, SIGMAS), (2, SIGMAS), (20, (10.0, 60.0))])
def test_patches_of_v_have_each_sigma_as_often(kept, sigmas):
    grey = ImageSet("grey", "all", tuple("abcdef"), (torch.full((1, 48, 48), 128, dtype=torch.uint8),) * 6)
    cut = Mock(validation_crop=None, patch=16, validation_patches=kept)
    noisy, clean = validation_pairs(grey, cut, task="denoise", sigmas=sigmas, seed=0)
    measured = 255 * (noisy - clean).flatten(1).std(dim=1)
    nearest = [min(sigmas, key=lambda sigma: abs(sigma - one)) for one in measured.tolist()]
    counts = [nearest.count(sigma) for sigma in sigmas]
    assert sum(counts) == kept and max(counts) - min(counts) <= 1
