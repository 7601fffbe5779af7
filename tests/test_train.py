"""The training loop: golden steps, schedules, what decays, what is kept."""

import math
from unittest.mock import Mock

import pytest
import torch
from pictures_for_tests import image_set

from hinas_nb import loops, network
from hinas_nb.config import TrainConfig
from hinas_nb.genotype import random_genotype
from hinas_nb.loops import has_compiler, score, validate
from hinas_nb.store import RunFolder
from hinas_nb.train import _State, learning_rate, train

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
    return list(train(config(**changes), GENOTYPE, image_set(3), image_set(1, seed=1), place)), place


def test_golden_steps():
    training = state()
    training.net.train()
    assert [training._step(step) for step in range(3)] == pytest.approx(GOLDEN, rel=1e-4)


@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_compiled_steps_are_the_same():
    small, losses = random_genotype(1, 1, torch.Generator().manual_seed(0)), []
    for compiled in (False, True):
        training = _State(config(compiled=compiled), small, image_set(3), image_set(1, seed=1), torch.device("cpu"))
        training.net.train()
        losses.append([training._step(step) for step in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_compiling_without_a_compiler_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(loops, "has_compiler", lambda: False)
    with pytest.raises(ValueError, match=r"torch.compile needs a C\+\+ compiler, got none"):
        state(compiled=True)


@pytest.mark.parametrize(
    ("device", "full", "mixed"), [("cuda", False, True), ("cuda", True, False), ("cpu", False, False)]
)
def test_mixed_precision_is_for_cuda_and_can_be_switched_off(device, full, mixed, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: asked.append((kind, dtype, enabled)))
    loops.precision(torch.device(device), full)
    assert asked == [(device, torch.bfloat16, mixed)]


def test_batches_go_to_cuda_from_pinned_memory():
    images, calls = Mock(), []
    images.pin_memory.return_value.to.side_effect = lambda device, non_blocking: calls.append((device, non_blocking))
    loops.sent(images, torch.device("cuda"))
    assert calls == [(torch.device("cuda"), True)]
    batch = torch.rand(1, 1, 2, 2)
    assert torch.equal(loops.sent(batch, torch.device("cpu")), batch)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"task": "sr", "scale": 2, "lr": 5e-4}])
def test_training_lowers_the_loss(tmp_path, changes):
    records, _ = run(tmp_path, steps=60, validate_every=20, **changes)
    assert [record.step for record in records] == [20, 40, 60]
    assert records[-1].loss < records[0].loss


def test_the_weights_best_on_v_are_written(tmp_path):
    records, place = run(tmp_path, steps=24)
    best = max(records, key=lambda r: score(r.validation_psnr, r.validation_ssim))
    assert [r for r in records if r.best][-1] is best
    net = network.load(place.path / "weights.safetensors")
    found = validate(net, state().validation, torch.device("cpu"), 2)
    assert found == pytest.approx((best.validation_psnr, best.validation_ssim), rel=1e-5)
    assert net.trained["sigma"] == 50 and net.trained["task"] == "denoise" and net.genotype == GENOTYPE


def test_patches_restored_exactly_are_left_out_of_the_mean():
    clean = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    degraded = clean + 0.1
    degraded[1] = clean[1]

    def mean(pairs):
        return validate(lambda images: images, pairs, torch.device("cpu"), 2)[0]

    pairs = clean / 2, degraded / 2
    assert mean(pairs[::-1]) == pytest.approx(-20 * math.log10(0.05), abs=1e-4)
    assert mean((clean, clean)) == math.inf


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
