"""Comparators that denoise: sizes, receptive fields, what their descriptions promise, and training as HiNAS's."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch.utils.flop_counter import FlopCounterMode

from hinas_nb import comparators, data
from hinas_nb.comparators import classical, n3net, nlrn, wnnm
from hinas_nb.comparators.base import Restorer
from hinas_nb.experiment import config
from hinas_nb.experiment.config import Comparator, EvaluateConfig, TrainConfig, Untrained
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run, describe
from hinas_nb.method import network
from hinas_nb.method.fast import BatchNorm2d
from hinas_nb.method.losses import restoration_loss
from hinas_nb.running.collect import collect
from hinas_nb.running.store import Store
from hinas_nb.scoring import evaluate, protocol
from hinas_nb.settings import ConfigError
from hinas_nb.training.train import _State

NETWORKS = [name for name in comparators.TRAINABLE if "denoise" in comparators.TABLE[name].tasks]
FINITE = ["red30", "dncnn", "memnet", "nlrn", "ffdnet", "ecae", "durnp"]
COUNTS = {"red30": 4_131_072, "dncnn": 556_096, "memnet": 695_497, "nlrn": 340_099, "n3net": 705_511, "dbsn": 6_614_995}
COUNTS |= {"ffdnet": 485_316, "ecae": 1_062_016, "durnp": 816_225}
EXPLAINED = {"memnet", "nlrn"}  # above 2 % from the published count; their files say why

networks = pytest.mark.parametrize("name", NETWORKS)


def narrow(name: str, width: int = 4) -> Restorer:
    torch.manual_seed(0)
    return comparators.build(name, "denoise", width=width).eval()


def settled(net: Restorer) -> Restorer:
    """In double precision, with batch norms and weights that are not what they start as."""
    for parameter in net.double().parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
    return net


def pictures(net: Restorer, *size: int, count: int = 1) -> torch.Tensor:
    """What the network takes: random grey pictures, with a noise map where it is told sigma."""
    noisy = noise(count, 1, *size)
    return data.with_noise_map(noisy, 50) if net.noise_map else noisy


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- the networks


def test_every_denoiser_stands_here():
    assert set(NETWORKS) == set(COUNTS)


@networks
@pytest.mark.parametrize("size", [(17, 23), (7, 31), (1, 1)])
def test_any_size_comes_back(name, size):
    with torch.no_grad():
        net = narrow(name)
        restored = net(pictures(net, *size, count=2).float())
    assert restored.shape == (2, 1, *size) and restored.isfinite().all()


@networks
def test_parameters_are_the_published_ones(name):
    with torch.device("meta"):
        count = comparators.build(name, "denoise").parameters_live
    published = comparators.TABLE[name].published[None]
    assert count == COUNTS[name]
    assert (abs(count - published) <= 0.02 * published) == (name not in EXPLAINED)
    assert f"{count:,} parameters" in sys.modules[comparators.build(name, "denoise", width=2).__module__].__doc__


@networks
def test_multiply_adds_can_be_counted_without_computing(name):
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        comparators.build(name, "denoise").eval()(torch.empty(1, 1 + comparators.TABLE[name].noise_map, 24, 24))
    assert counter.get_total_flops() > 1e6


@pytest.mark.parametrize("name", FINITE)
def test_tiles_change_nothing(name):
    """Also says that the halo is large enough."""
    net = settled(narrow(name, 2))
    length = 2 * net.halo + 40
    noisy = pictures(net, 5, length)
    with torch.no_grad():
        whole = net(noisy)
        tiled = evaluate.restore(net, noisy, net.halo, tile=length // 3)
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["red30", "dncnn"])
def test_the_halo_is_not_larger_than_needed(name):
    net = settled(narrow(name, 8))
    noisy = noise(1, 1, 3, 2 * net.halo + 3).requires_grad_()
    (gradient,) = torch.autograd.grad(net(noisy)[0, 0, 1, net.halo + 1], noisy)
    reached = gradient[0, 0].abs().amax(dim=0) > 0
    assert reached.nonzero().flatten()[[0, -1]].tolist() == [1, 2 * net.halo + 1]


@networks
def test_folded_for_inference_it_is_the_same(name):
    net = settled(narrow(name))
    noisy = pictures(net, 21, 26)
    with torch.no_grad():
        assert torch.allclose(net.folded()(noisy), net(noisy), rtol=0, atol=1e-8)


def test_a_folded_dncnn_has_no_batch_norm_left():
    kinds = {type(layer) for layer in narrow("dncnn").folded().modules()}
    assert torch.nn.BatchNorm2d not in kinds


@networks
def test_a_few_steps_on_photographs_lower_the_loss(name):
    settings = TrainConfig(
        genotype=Comparator(name=name, width=8), data="photos", split="train", validation="validation",
        patch=24, batch=2, steps=12, validate_every=12, optimizer="adamw", validation_patches=1,
        noise_map=comparators.TABLE[name].noise_map,
    )  # fmt: skip
    photos = data.load("photos", "train").subset([0, 1])
    state = _State(settings, None, photos, photos, torch.device("cpu"))
    degraded, clean = state.pairs.batch(0)

    def loss() -> float:
        state.net.train()
        with torch.no_grad():
            return float(restoration_loss(state.net(degraded), clean, "mse", 0.6))

    before = loss()
    for step in range(settings.steps):
        state._step(step)
    assert loss() < before


def test_ffdnet_is_told_sigma_and_restores_any_of_them():
    net = narrow("ffdnet", 8)
    noisy = noise(1, 1, 9, 12).float()
    weak, strong = evaluate.infer(net, noisy, 5), evaluate.infer(net, noisy, 50)
    assert weak.shape == noisy.shape and not torch.equal(weak, strong)


# -- what their descriptions promise


def test_a_blind_spot_does_not_see_its_pixel():
    net = settled(narrow("dbsn", 16))
    noisy = noise(1, 1, 9, 200).requires_grad_()
    mean, _ = net.mean_and_features(noisy)
    (gradient,) = torch.autograd.grad(mean[0, 0, 4, 100], noisy)
    assert gradient[0, 0, 4, 100] == 0
    assert gradient[0, 0, 4, 99] != 0 and gradient[0, 0, 3, 100] != 0


def test_bayes_weighs_the_pixel_and_its_mean():
    net, noisy = settled(narrow("dbsn")), noise(1, 1, 12, 12)
    with torch.no_grad():
        mean, restored = net.mean_and_features(noisy)[0], net(noisy)
    low, high = torch.minimum(mean, noisy), torch.maximum(mean, noisy)
    assert ((low <= restored) & (restored <= high)).all()


def test_a_cold_choice_is_the_nearest_neighbours_in_order():
    far = noise(1, 6, 20)
    allowed = torch.ones(6, 20, dtype=torch.bool)
    allowed[:, 0] = False
    chosen = n3net._nearest(-far / 1e-5, allowed)
    order = far.masked_fill(~allowed, 9).argsort(dim=-1)[..., : n3net._NEIGHBOURS]
    assert torch.equal(chosen.argmax(dim=-1), order.permute(0, 2, 1))
    assert torch.allclose(chosen.sum(dim=-1), torch.ones(1, 7, 6, dtype=torch.float64))


@pytest.mark.parametrize(("module", "size"), [(n3net, (45, 70)), (nlrn, (11, 17))])
def test_blocks_change_nothing(module, size, monkeypatch):
    name = module.__name__.rpartition(".")[2]
    net, noisy = settled(narrow(name)), noise(1, 1, *size)
    real = module.neighbourhoods

    def in_blocks_of(side):
        monkeypatch.setattr(module, "neighbourhoods", lambda h, w, d, *_, **rest: real(h, w, d, 3, side, **rest))
        with torch.no_grad():
            return net(noisy)

    assert torch.allclose(in_blocks_of(5), in_blocks_of(1000), rtol=0, atol=1e-10)


def test_neighbourhoods_are_windows():
    reach, seen = 2, torch.zeros(7 * 9, 7 * 9, dtype=torch.bool)
    positions = torch.arange(7 * 9).view(7, 9)
    for inside, around, near in nlrn.neighbourhoods(7, 9, torch.device("cpu"), reach, block=4):
        seen[positions[inside].flatten()[:, None], positions[around].flatten()] = near
    rows, columns = positions // 9, positions % 9
    away = torch.stack([(x.flatten()[:, None] - x.flatten()).abs() for x in (rows, columns)]).amax(dim=0)
    assert torch.equal(seen, away <= reach)


@torch.no_grad()
def test_a_non_local_module_adds_a_mean_to_the_features():
    module, features = nlrn._NonLocal(4).double(), noise(1, 4, 6, 5)
    assert torch.equal(module(features), features)  # first weights: the identity
    torch.nn.init.normal_(module.project.weight)
    query, key = (embed(features).flatten(2) for embed in module.embed)
    weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
    mean = (module.project(features).flatten(2) @ weights.transpose(1, 2)).view_as(features)
    assert torch.allclose(module(features), features + mean, rtol=0, atol=1e-12)


def test_shifted_neighbourhoods_are_all_of_one_size():
    for _, _, near in nlrn.neighbourhoods(7, 9, "cpu", 2, block=4, shifted=True):
        assert (near.sum(dim=1) == 25).all()
    ((_, _, near),) = nlrn.neighbourhoods(4, 3, "cpu", 2, block=4, shifted=True)
    assert near.all()  # a picture smaller than a neighbourhood is all in reach


def test_what_is_left_of_a_weight_is_exact_and_its_gradient_bounded():
    weight = torch.tensor([1e-18, 0.3, 0.7, 1 - 1e-15], dtype=torch.float64)
    log_weight = weight.log().requires_grad_()
    left = n3net._log_left(log_weight)
    assert torch.allclose(left, torch.log1p(-log_weight.detach().exp()), rtol=1e-12, atol=1e-30)
    (gradient,) = torch.autograd.grad(left.sum(), log_weight)
    assert gradient.abs().max() <= 1 / n3net._GUARD
    assert n3net._log_left(torch.zeros(1)) == n3net._USED


def test_distances_are_normalised_over_all_pairs_of_all_blocks():
    block = n3net._N3Block(4).double().train()
    allowed = [noise(3, 5, seed=seed) > 0.4 for seed in (1, 2)]
    before = [noise(2, 3, 5, seed=seed) for seed in (3, 4)]
    after = [like.clone() for like in before]
    with torch.no_grad():
        block._normalise(after, allowed)
    pairs, found = (torch.cat([x[:, mask].flatten() for x, mask in zip(xs, allowed)]) for xs in (before, after))
    expected = (pairs - pairs.mean()) / (pairs.var(correction=0) + block.norm.eps).sqrt()
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    assert all(torch.equal(a[:, ~mask], b[:, ~mask]) for a, b, mask in zip(after, before, allowed))


@pytest.mark.parametrize("channels_last", [False, True])
def test_batch_norm_of_a_single_channel(channels_last):
    """That of a grey image, as MemNet and NLRN begin."""
    image = noise(2, 1, 6, 5)
    image = (image.contiguous(memory_format=torch.channels_last) if channels_last else image).requires_grad_()
    weight, results = noise(2, 1, 6, 5, seed=1), []
    for kind in (BatchNorm2d, torch.nn.BatchNorm2d):
        output = kind(1).double()(image)
        results.append((output, *torch.autograd.grad((output * weight).sum(), image)))
    for ours, theirs in zip(*results):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_grid_of_patches_is_cut_and_put_together():
    image = noise(2, 3, 10 + 5 * 3, 10 + 5 * 2)
    assert torch.allclose(n3net._assembled(n3net._patches(image), [25, 20]), image, rtol=0, atol=1e-12)


# -- without training


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("nlm", lambda x, s: denoise_nl_means(x, patch_size=7, patch_distance=6, h=0.6 * s, sigma=s, fast_mode=True)),
        ("wavelet", lambda x, s: denoise_wavelet(x, sigma=s, wavelet="db2", method="BayesShrink", mode="soft")),
    ],
)
def test_filters_are_scikit_images(name, direct):
    noisy = noise(2, 1, 37, 41).float()
    restored = evaluate.infer(comparators.build(name, "denoise", sigma=25), noisy)
    expected = np.stack([direct(x.double().numpy(), 25 / 255) for x in noisy[:, 0]])
    assert restored.dtype == noisy.dtype
    assert np.allclose(restored[:, 0].numpy(), expected, rtol=0, atol=1e-6)


def test_bm3d_is_the_package_and_is_optional(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(classical, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"bm3d is not installed: pip install .*non-commercial"):
            comparators.build("bm3d", "denoise", sigma=50)
    bm3d = pytest.importorskip("bm3d")
    noisy = noise(1, 1, 32, 40)
    restored = evaluate.infer(comparators.build("bm3d", "denoise", sigma=50), noisy)
    assert np.allclose(restored[0, 0], bm3d.bm3d(noisy[0, 0].numpy(), sigma_psd=50 / 255))


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (13, 8)])
@pytest.mark.parametrize("sigma", [15, 50, 75])
def test_wnnm_takes_any_size_and_leaves_a_constant_alone(size, sigma):
    filtered = comparators.build("wnnm", "denoise", sigma=sigma)
    constant = torch.full((1, 1, *size), 0.3)
    assert torch.allclose(filtered(constant), constant, rtol=0, atol=1e-6)
    assert filtered(noise(2, 1, *size).float()).shape == (2, 1, *size)


def test_wnnm_shrinks_singular_values_as_published():
    """Against the decomposition itself; small ones vanish, large ones keep nearly all."""
    group, sigma = noise(3, 20, 16) + 3 * noise(3, 20, 1, seed=1), torch.tensor([0.1, 0.3, 0.9]).double()
    left, values, right = torch.linalg.svd(group, full_matrices=False)
    kept = (values**2 - 20 * sigma[:, None] ** 2).clamp(min=0).sqrt()
    for _ in range(3):
        kept = (values - 8**0.5 * 20**0.5 * sigma[:, None] ** 2 / (kept + 1e-12)).clamp(min=0)
    assert torch.allclose(wnnm.shrunk(group, sigma), left * kept[:, None] @ right, rtol=0, atol=1e-8)
    assert (kept[:, -1] == 0).any() and (kept[:, 0] > 0.9 * values[:, 0]).any()


@pytest.mark.parametrize("size", [(12, 9), (80, 11)])
def test_wnnm_gathers_the_nearest_patches_within_reach(size):
    """Against all distances; with tiles of the grid's patches, at the edges too."""
    image, columns = noise(*size), size[1] - 3
    patches = wnnm._patches(image, (4, 4))
    rows = len(patches) // columns
    grid = wnnm._places(rows, 3), wnnm._places(columns, 3)
    found = wnnm.matched(patches, columns, grid, 12)
    places = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1).flatten(0, 1)
    keys = (grid[0][:, None] * columns + grid[1]).flatten()
    apart = (places[keys][:, None] - places).abs().amax(dim=-1) > wnnm.REACH
    distances = torch.cdist(patches[keys], patches).masked_fill(apart, torch.inf)
    nearest = distances.topk(12, largest=False).indices
    assert torch.equal(found.sort(dim=1).values, nearest.sort(dim=1).values)


@pytest.mark.parametrize("name", ["nlm", "wavelet", "wnnm"])
def test_filters_remove_noise_from_a_photograph(name):
    settings = protocol.get("denoise-standard", sigma=50).but(half_size=True)
    photo = data.load("photos", "test").subset([0]).grey()
    corner = dataclasses.replace(photo, images=tuple(image[:, :96, :96] for image in photo.images))
    scores = [
        next(evaluate.evaluate(restore, corner, settings)).psnr
        for restore in (evaluate.baseline(settings), comparators.build(name, "denoise", sigma=50))
    ]
    assert scores[1] > scores[0] + 5


# -- the interface


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (lambda: comparators.build("unet", "denoise"), "comparator must be one of red30 dncnn"),
        (
            lambda: comparators.build("dncnn", "sr", scale=2),
            "comparator must be one for task sr, got dncnn for denoise",
        ),
        (lambda: comparators.build("dncnn", "denoise", scale=2), "scale must be 2, 3 or 4 for sr and None for denoise"),
        (lambda: comparators.build("dncnn", "denoise", sigma=50), "sigma must be None for a network"),
        (lambda: comparators.build("nlm", "denoise"), "sigma must be above 0 (grey levels), got None for nlm"),
        (lambda: comparators.build("dncnn", "denoise", width=0), "width must be a whole number of at least 1, got 0"),
        (lambda: comparators.build("nlm", "denoise", None, 50, 3), "width must be None where nothing is trained"),
        (lambda: evaluate.infer(narrow("ffdnet"), noise(1, 1, 9, 9)), "sigma must be told to a network with a noise"),
        (lambda: training(base_width=20), "base_width belongs to a genotype's network and must be None for dncnn"),
        (lambda: training(residual=False), "residual belongs to a genotype's network and must be True for dncnn"),
        (lambda: training(genotype=Comparator(name="nlm")), "comparator must be one of red30"),
        (lambda: training(genotype=Comparator(name="vdsr")), "comparator must be one for task denoise, got vdsr"),
        (lambda: score("nlm", "sr-standard"), "comparator must be one for task sr, got nlm for denoise"),
    ],
)
def test_what_makes_no_sense_is_one_line(act, line):
    with pytest.raises(ValueError) as error:
        act()
    assert line in str(error.value) and "\n" not in str(error.value)


def training(**changes) -> TrainConfig:
    return TrainConfig(**({"genotype": Comparator(name="dncnn"), "data": "photos", "split": "train"} | changes))


def score(model: str, preset: str) -> EvaluateConfig:
    return EvaluateConfig(model=model, data="photos", protocol=protocol.get(preset, scale=2))


def test_comparators_know_only_the_model_side_and_their_filters():
    for path in Path(comparators.__file__).parent.glob("*.py"):
        names = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        others = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"hinas_nb"}
        assert others <= {"torch", "jaxtyping", "numpy", "skimage", "bm3d"}, path.name
        ours = {name.split(".")[1] for name in names if name.startswith("hinas_nb.")}
        assert ours <= {"comparators", "method"}, path.name


def test_the_table_and_the_settings_agree():
    assert set(comparators.TRAINING_FREE) == set(Untrained.__args__) - {"input"}
    assert set(comparators.TABLE) == set(comparators.TRAINABLE) | set(comparators.TRAINING_FREE)


def test_a_profile_trains_comparators_with_the_budget_of_the_derived_network():
    profile = load_profile("smoke")
    ours, theirs = (
        profile.train("denoise", origin) for origin in (profile.search("denoise"), Comparator(name="dncnn"))
    )
    assert ours.base_width and theirs.base_width is None
    fields = set(TrainConfig.model_fields) - {"genotype", "base_width"}
    assert all(getattr(ours, name) == getattr(theirs, name) for name in fields)
    assert theirs.but(seed=3).seed == 3
    assert describe(theirs) == "train dncnn denoise sigma 50 seed 0"
    assert describe(theirs.but(genotype=Comparator(name="dncnn", width=35))).startswith("train dncnn-35 denoise")


def test_a_comparator_is_trained_scored_and_loaded(tmp_path, capsys):
    profile = load_profile("smoke", {"train.steps": 4, "train.validate_every": 2, "evaluate.every": 100})
    store, trained = Store(tmp_path / "runs"), profile.train("denoise", Comparator(name="dncnn", width=4))
    standard = protocol.get("denoise-standard")
    runs = [
        Run(profile.evaluate(model, protocol=standard), {"model": label})
        for label, model in (("dncnn", trained), ("wavelet", "wavelet"), ("noisy", "input"))
    ]
    scores = collect(runs, store).groupby("model").psnr.mean()
    assert scores.wavelet > scores.noisy and np.isfinite(scores.dncnn)
    weights = store.folder(trained).path / "weights.safetensors"
    net = comparators.load(weights)
    assert (net.name, net.width) == ("dncnn", 4) and not net.training
    assert (net.trained["comparator"], net.trained["sigma"], net.trained["steps"]) == ("dncnn", 50, 4)
    name = data.load("photos", "test").names[0]
    noisy, _ = standard.pair(data.load("photos", "test").images[0], name)
    whole = net.folded()(noisy)
    assert torch.allclose(evaluate.infer(net, noisy, 50), whole, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="got: dncnn, which has no genotype"):
        network.load(weights)


def test_as_long_means_steps_by_the_pace():
    paces = {"denoise.pace": {"hinas": 0.3, "dncnn": 0.45, "dncnn-4": 0.1, "red30": 900}}
    profile = load_profile("smoke", paces | {"train.steps": 40, "train.validate_every": 10})

    def steps(name: str, width: int | None = None, **changes) -> int:
        return profile.train_as_long("denoise", Comparator(name=name, width=width), **changes).steps

    assert (steps("dncnn"), steps("dncnn", 4), steps("red30")) == (30, 120, 10)  # whole intervals, at least one
    assert steps("dncnn", steps=80) == 50
    with pytest.raises(ConfigError, match=r"pace of memnet must stand in denoise\.pace of profile smoke"):
        steps("memnet")


def test_damaged_weights_are_one_line(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"w\.safetensors must be weights written by a hinas-nb training Run") as error:
        comparators.load(tmp_path / "w.safetensors")
    assert "\n" not in str(error.value)
    assert issubclass(ConfigError, ValueError) and config.Comparator is Comparator
