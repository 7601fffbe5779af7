"""The super-resolution comparators: sizes, counts by hand, training, tiles, and what each paper describes."""

import functools
import re
from importlib import import_module

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hinas_nb import data
from hinas_nb.comparators import TABLE, build, load
from hinas_nb.comparators.dbpn import DBPN
from hinas_nb.comparators.edsr import EDSR
from hinas_nb.comparators.falsr import FALSRA, FALSRB, FALSRC
from hinas_nb.comparators.fsrcnn import FSRCNN
from hinas_nb.comparators.idn import IDN
from hinas_nb.comparators.imdn import IMDN
from hinas_nb.comparators.lapsrn import LapSRN, _three_quarters
from hinas_nb.comparators.layers import luminance
from hinas_nb.comparators.memnet import MemNet
from hinas_nb.comparators.moremnas import MoreMNASD
from hinas_nb.comparators.rcan import RCAN
from hinas_nb.comparators.rdn import RDN
from hinas_nb.comparators.rfanet import RFANet
from hinas_nb.comparators.san import SAN, _covariance, _NonLocal, _square_root
from hinas_nb.comparators.span import SPAN
from hinas_nb.comparators.spsr import SPSR, _gradient
from hinas_nb.comparators.srmd import SRMDNF
from hinas_nb.comparators.vdsr import VDSR
from hinas_nb.experiment.config import Comparator
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import Run
from hinas_nb.method.network import upsample
from hinas_nb.running import compute
from hinas_nb.running.collect import collect
from hinas_nb.running.store import Store
from hinas_nb.scoring import evaluate, protocol

NARROW = {
    "fsrcnn": lambda scale: FSRCNN(scale, width=8, shrunk=4, depth=2),
    "vdsr": lambda scale: VDSR(scale, width=8, depth=5),
    "lapsrn": lambda scale: LapSRN(scale, width=8, depth=2),
    "memnet": lambda scale: MemNet(scale, width=8),
    "edsr": lambda scale: EDSR(scale, width=8, blocks=2),
    "idn": lambda scale: IDN(scale, width=16, blocks=1),
    "rdn": lambda scale: RDN(scale, width=8, blocks=2, depth=3),
    "rcan": lambda scale: RCAN(scale, width=16, groups=2, blocks=2),
    "imdn": lambda scale: IMDN(scale, width=16, blocks=2),
    "san": lambda scale: SAN(scale, width=8, groups=2, blocks=1),
    "span": lambda scale: SPAN(scale, width=8, blocks=2),
    "rfanet": lambda scale: RFANet(scale, width=8, modules=2, blocks=2),
    "srmd": lambda scale: SRMDNF(scale, width=8, depth=4),
    "dbpn": lambda scale: DBPN(scale, width=8, stages=3),
    "falsr_a": lambda scale: FALSRA(scale, width=8),
    "falsr_b": lambda scale: FALSRB(scale, width=8),
    "falsr_c": lambda scale: FALSRC(scale, width=8),
    "moremnas": lambda scale: MoreMNASD(scale, width=8),
    "spsr": lambda scale: SPSR(scale, width=2, blocks=4, every=1),
}
LUMINANCE = ("fsrcnn", "vdsr", "lapsrn", "memnet", "idn", "falsr_a", "falsr_b", "falsr_c", "moremnas")
GLOBAL = ("rcan", "imdn", "san")
LOCAL = tuple(name for name in NARROW if name not in (*GLOBAL, "rfanet"))

networks = pytest.mark.parametrize("name", NARROW)
at_its_scales = pytest.mark.parametrize(("name", "scale"), [(name, s) for name in NARROW for s in TABLE[name].scales])
local = pytest.mark.parametrize(("name", "scale"), [(name, s) for name in LOCAL for s in TABLE[name].scales])


def first_scale(name: str) -> int:
    return TABLE[name].scales[0]


def narrow(name: str, scale: int) -> torch.nn.Module:
    """In float64 and evaluation mode, all weights moved, so that nothing is zero or one by its first weights."""
    torch.manual_seed(0)
    network = NARROW[name](scale).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def test_every_one_of_the_table_is_here():
    assert set(NARROW) == {name for name, entry in TABLE.items() if "sr" in entry.tasks}


# --- counts


def c(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> int:
    """Weights and biases of a convolution."""
    return inputs * outputs * kernel**2 // groups + outputs


def shuffle(width: int, scale: int) -> int:
    """EDSR's way from features to the image."""
    up = {2: c(width, 4 * width), 3: c(width, 9 * width), 4: 2 * c(width, 4 * width)}
    return up[scale] + c(width, 3)


def attention(width: int) -> int:
    return c(width, width // 16, 1) + c(width // 16, width, 1)


def bottleneck(width: int, kernel: int) -> int:
    return c(width, 2 * width, kernel) + c(2 * width, 2 * width, groups=2 * width) + c(2 * width, width, kernel)


def dense(width: int) -> int:
    return sum(c(width + 32 * layer, 32) for layer in range(4)) + c(width + 4 * 32, width)


def by_hand(name: str, s: int) -> int:
    if name == "fsrcnn":
        slopes = 56 + 12 + 4 * 12 + 56
        return c(1, 56, 5) + c(56, 12, 1) + 4 * c(12, 12) + c(12, 56, 1) + slopes + c(56, 1, 9)
    if name == "vdsr":
        return c(1, 64) + 18 * c(64, 64) + c(64, 1)
    if name == "lapsrn":
        level = 10 * c(64, 64) + c(64, 64) + c(64, 1) + 4 * 4
        return c(1, 64) + {2: 1, 3: 2, 4: 2}[s] * level
    if name == "memnet":  # a batch norm before each convolution
        recursion, gates = 2 * 2 * 64, [(6 + block) * 64 for block in range(1, 7)]
        blocks = 6 * (2 * c(64, 64) + 6 * recursion) + sum(2 * gated + c(gated, 64, 1) for gated in gates)
        return 2 + c(1, 64) + blocks + 6 * 2 * 64 + c(64, 1) + 6
    if name == "edsr":
        return c(3, 256) + 65 * c(256, 256) + shuffle(256, s)
    if name == "idn":
        above = c(64, 48) + c(48, 32, groups=4) + c(32, 64)
        below = c(48, 64) + c(64, 48, groups=4) + c(48, 80)
        return c(1, 64) + c(64, 64) + 4 * (above + below + c(80, 64, 1)) + c(64, 1, 17)
    if name == "rdn":
        block = sum(c(64 * layer, 64) for layer in range(1, 9)) + c(9 * 64, 64, 1)
        return c(3, 64) + c(64, 64) + 16 * block + c(16 * 64, 64, 1) + c(64, 64) + shuffle(64, s)
    if name == "rcan":
        group = 20 * (2 * c(64, 64) + attention(64)) + c(64, 64)
        return c(3, 64) + 10 * group + c(64, 64) + shuffle(64, s)
    if name == "imdn":
        block = c(64, 64) + 2 * c(48, 64) + c(48, 16) + attention(64) + c(64, 64, 1)
        return c(3, 64) + 6 * block + c(6 * 64, 64, 1) + c(64, 64) + c(64, 3 * s**2)
    if name == "span":
        return c(3, 28) + 18 * c(28, 28) + c(28, 28) + c(4 * 28, 28, 1) + c(28, 3 * s**2)
    if name == "rfanet":
        spatial = c(64, 16, 1) + c(16, 16, 1) + 4 * c(16, 16) + c(16, 64, 1)
        module = 4 * (2 * c(64, 64) + spatial) + c(4 * 64, 64, 1)
        return c(3, 64) + 30 * module + c(64, 64) + shuffle(64, s)
    if name == "srmd":
        return 9 * 18 * 128 + 10 * 9 * 128 * 128 + 11 * 2 * 128 + c(128, 3 * s**2)
    if name == "dbpn":
        kernel = {2: 6, 4: 8}[s]
        joins = sum(c(seen * 64, 64, 1) + 1 for seen in range(2, 7))
        return c(3, 256) + c(256, 64, 1) + 2 + 39 * (c(64, 64, kernel) + 1) + 2 * joins + c(7 * 64, 3)
    if name == "falsr_a":
        inputs = [32, 48, 48 + 64, 32 + 48 + 64, 32 + 48 + 64 + 64]
        cells = sum(c(seen, 64) for seen in inputs) + 15 * c(64, 64) + c(64, 48, 1) + 4 * c(64, 64, 1)
        return c(1, 32) + cells + c(32 + 6 * 64 + 48, 32) + c(8, 1)
    if name == "falsr_b":
        cells = c(32, 16, 1) + bottleneck(16, 3) + c(48, 48, 1) + 2 * bottleneck(48, 1) + c(96, 16, 1) + c(16, 16, 1)
        cells += c(16, 32, 1) + 4 * bottleneck(32, 3) + c(96, 64) + c(64, 64)
        cells += c(144, 16, groups=4) + 3 * c(16, 16, groups=4) + c(112, 16)
        return c(1, 32) + cells + c(80, 32) + c(8, 1)
    if name == "falsr_c":
        cells = c(32, 32, 1, 2) + 4 * c(64, 64, 1) + c(64, 48, 1) + 4 * bottleneck(48, 3) + c(80, 32, 1, 2)
        cells += c(64, 32, 1, 4) + c(64, 48, 1) + 3 * c(48, 48, 1) + c(80, 16)
        return c(1, 32) + cells + c(160, 32) + c(8, 1)
    if name == "moremnas":
        cells = c(32, 48, 1) + c(48, 32, 1, 4) + c(32, 32, 1, 4) + c(32, 48, 1) + c(48, 48, 1, 4)
        cells += c(48, 48, 1) + 4 * bottleneck(48, 1) + c(48, 16, 1, 4) + c(16, 64, 1) + 4 * bottleneck(64, 3)
        return c(1, 32) + cells + c(64, 32) + c(8, 1)
    if name == "spsr":
        halving = 3 * dense(128) + c(128, 64)
        ends, larger = 2 * c(64, 64), 2 * (2 + 2) * c(64, 64)
        return 2 * c(3, 64) + 23 * 3 * dense(64) + 5 * halving + ends + larger + c(64, 64) + c(64, 3)
    group = 10 * 2 * c(64, 64) + attention(64) + c(64, 64)
    non_local = 3 * c(64, 8, 1) + c(8, 64, 1)
    return c(3, 64) + 20 * group + non_local + 1 + shuffle(64, s)


@functools.cache
def parameters(name: str, scale: int) -> int:
    """Of the published size."""
    with torch.device("meta"):
        return build(name, "sr", scale).parameters_live


@at_its_scales
def test_parameters_are_those_counted_by_hand_and_said_in_the_file(name, scale):
    count = parameters(name, scale)
    assert count == by_hand(name, scale)
    said = import_module(f"hinas_nb.comparators.{TABLE[name].where.split('.')[0]}").__doc__
    assert f"{count:,}" in said


def test_only_four_are_farther_than_2_percent_from_the_published_count():
    """Each of these files says why."""
    published = ((name, s, count) for name in NARROW for s, count in TABLE[name].published.items() if s)
    far = {name for name, s, count in published if abs(parameters(name, s) / count - 1) > 0.02}
    assert far == {"fsrcnn", "memnet", "lapsrn", "falsr_c"}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_multiply_adds_are_counted_without_computing(scale):
    """A convolution takes its weights once per pixel of its output; bicubic's 5 x 5 for three colours come on top."""
    height, width = 10, 12
    bicubic = 3 * 25 * scale**2 * height * width
    weights = {"vdsr": (by_hand("vdsr", scale) - 19 * 64 - 1) * scale**2, "idn": by_hand("idn", scale)}
    weights["idn"] -= 2 * 64 + 4 * (48 + 32 + 64 + 64 + 48 + 80 + 64) + 1
    for name, count in weights.items():
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            build(name, "sr", scale)(torch.empty(1, 3, height, width))
        assert counter.get_total_flops() == 2 * (count * height * width + bicubic)


# --- one interface


@at_its_scales
@torch.no_grad()
def test_any_size(name, scale):
    network = NARROW[name](scale).eval()
    for height, width in ((1, 1), (2, 7), (13, 6)):
        low = torch.rand(2, 3, height, width)
        assert evaluate.infer(network, low).shape == (2, 3, height * scale, width * scale)
        assert network(low).isfinite().all()


@functools.cache
def batches(scale: int) -> list:
    photos = data.load("photos", "train")
    pairs = data.Pairs(photos, task="sr", scale=scale, patch=12, batch=4, seed=0, stream="train")
    return [pairs.batch(step) for step in range(32)]


@networks
def test_a_few_steps_on_photos_lower_the_loss(name):
    torch.manual_seed(0)
    network = NARROW[name](first_scale(name))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)

    def loss(batch) -> torch.Tensor:
        return (network(batch[0]) - batch[1]).square().mean()

    seen, others = batches(first_scale(name))[:4], batches(first_scale(name))[4:]
    before = sum(float(loss(batch).detach()) for batch in seen)
    for batch in others:
        optimizer.zero_grad()
        loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    assert sum(float(loss(batch).detach()) for batch in seen) < 0.99 * before


@networks
def test_every_parameter_takes_part(name):
    network = narrow(name, TABLE[name].scales[-1])
    network(torch.rand(1, 3, 5, 5, dtype=torch.float64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@local
@torch.no_grad()
def test_tiles_are_the_whole_image(name, scale):
    network = narrow(name, scale)
    low = torch.rand(1, 3, 2 * network.halo // 3 + 17, network.halo + 12, dtype=torch.float64)
    tiled = evaluate.restore(network, low, network.halo, tile=9 + network.halo // 2)
    assert torch.allclose(tiled, network(low), rtol=0, atol=1e-10)


def reach(network: torch.nn.Module, scale: int) -> int:
    """How far from an input pixel the pixels lie that its `scale` x `scale` output pixels depend on."""
    side, middle = 2 * network.halo + 9, network.halo + 4
    low = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    pixels = slice(middle * scale, (middle + 1) * scale)
    output = network(low)[..., pixels, pixels]
    (output * torch.rand_like(output)).sum().backward()
    rows = low.grad.abs().amax((0, 1, 3)).nonzero().flatten()
    return max(middle - int(rows[0]), int(rows[-1]) - middle)


@pytest.mark.parametrize(("name", "scale"), [(name, s) for name in LOCAL if name != "spsr" for s in TABLE[name].scales])
def test_halo_is_the_receptive_field(name, scale):
    """To the pixel, but for an edge that bicubic up-sampling or the shrinking to x3 does not need at each scale."""
    network = narrow(name, scale)
    assert 0 <= network.halo - reach(network, scale) <= (1 if name in ("vdsr", "memnet", "lapsrn") else 0)


@pytest.mark.parametrize("name", GLOBAL)
@torch.no_grad()
def test_attention_sees_the_whole_image(name):
    network = narrow(name, 2)
    assert network.halo is None
    low = torch.rand(1, 3, 60, 60, dtype=torch.float64)
    other = low.clone()
    other[..., -1, -1] += 1
    assert not torch.equal(network(low)[..., :2, :2], network(other)[..., :2, :2])
    with pytest.raises(ValueError, match="tile must be at least 1 pixel and needs a known halo"):
        evaluate.restore(network, low, network.halo, tile=9)


@pytest.mark.parametrize("name", LUMINANCE)
@torch.no_grad()
def test_luminance_networks_leave_the_chroma_to_bicubic(name):
    network, low = narrow(name, 2), torch.rand(1, 3, 9, 8, dtype=torch.float64)
    change = network(low) - upsample(low, 2)
    assert change.abs().max() > 1e-3
    assert torch.allclose(change, change[:, :1].expand_as(change), rtol=0, atol=1e-12)
    grey = low.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)  # three equal channels stay equal
    assert torch.allclose(luminance(network(grey)), network(grey)[:, :1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "width", "multiple"), [("idn", 24, 16), ("imdn", 30, 4)])
def test_widths_that_cannot_be_divided_die_in_the_settings(name, width, multiple):
    with pytest.raises(ValueError, match=f"width must be a multiple of {multiple}, got {width} for {name}"):
        load_profile("smoke").train("sr", Comparator(name=name, width=width))


def test_one_is_trained_scored_and_loaded(tmp_path):
    profile = load_profile("smoke", {"train.steps": 2, "train.validate_every": 2, "evaluate.every": 5})
    store, trained = Store(tmp_path / "runs"), profile.train("sr", Comparator(name="imdn", width=8), scale=3)
    standard = protocol.get("sr-standard", scale=3)
    (score,) = collect([Run(profile.evaluate(trained, protocol=standard), {})], store).psnr
    assert 0 < score < 60
    network = load(store.folder(trained).path / "weights.safetensors")
    assert (network.name, network.scale, network.parameters_live) == ("imdn", 3, IMDN(3, width=8).parameters_live)
    low = torch.rand(1, 3, 8, 9)
    with torch.no_grad():
        assert torch.allclose(evaluate.infer(network, low), network.folded()(low), rtol=0, atol=1e-5)


# --- distillation


def fsrcnn(width: int, **changes):
    profile = load_profile("smoke", {"train.steps": 40, "train.validate_every": 40, "train.batch": 2})
    return profile.train("sr", Comparator(name="fsrcnn", width=width), scale=2, optimizer="adamw", **changes)


def test_a_student_comes_nearer_to_its_teacher(tmp_path):
    store, teacher = Store(tmp_path / "runs"), fsrcnn(8, seed=1, steps=8, validate_every=8)
    alone, taught = fsrcnn(4), fsrcnn(4, teacher=teacher, teacher_weight=100)
    assert taught.producers == (teacher,) and alone.producers == ()
    made = []
    for config in (teacher, alone, taught):
        list(compute.compute(config, store))
        made.append(load(store.folder(config).path / "weights.safetensors"))
    low = torch.rand(1, 3, 20, 20)
    with torch.no_grad():
        wanted, *others = (network(low) for network in made)
    far, near = ((other - wanted).abs().mean() for other in others)
    assert near < 0.7 * far


def test_a_training_without_a_teacher_is_the_one_of_before():
    assert not {"teacher", "teacher_weight"} & fsrcnn(4).identity().keys()
    assert fsrcnn(4, teacher=fsrcnn(8)).teacher_weight == 1
    assert fsrcnn(4, teacher=fsrcnn(8)).identity()["teacher"]["genotype"] == {
        "kind": "Comparator",
        "name": "fsrcnn",
        "width": 8,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda: {"teacher_weight": 2}, "teacher and teacher_weight belong together, got weight 2.0 and no teacher"),
        (lambda: {"teacher": fsrcnn(8).but(scale=3)}, "teacher must have scale 2, got 3"),
        (
            lambda: {"teacher": load_profile("smoke").train("sr", load_profile("smoke").search("sr"), scale=2)},
            "teacher must be a comparator's training, for another comparator's, got one of a genotype",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_one_line(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        fsrcnn(4, **changes())


def test_a_network_of_one_scale_is_not_built_for_another():
    said = "scale must be 2 or 4 for sr and None for denoise, got 3 for sr (dbpn)"
    with pytest.raises(ValueError, match=re.escape(said)):
        load_profile("smoke").train("sr", Comparator(name="dbpn"), scale=3)


# --- what single papers describe


@torch.no_grad()
def test_span_s_convolutions_are_one_each_when_folded():
    network = narrow("span", 3)
    low = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    ready = network.folded()
    assert torch.allclose(ready(low), network(low), rtol=0, atol=1e-12)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in ready.modules()) == 1 + 3 * 2 + 1 + 1 + 1


@torch.no_grad()
def test_a_back_projection_of_what_it_can_undo_adds_nothing():
    """If going there and back loses nothing, there is nothing to correct."""
    up = narrow("dbpn", 2).ups[1]
    up.there, up.back = torch.nn.Upsample(scale_factor=2), torch.nn.AvgPool2d(2)
    features = torch.rand(1, 8, 5, 4, dtype=torch.float64)
    nothing = up.correction(torch.zeros_like(features))
    assert torch.allclose(up(features), up.there(features) + nothing, rtol=0, atol=1e-12)


@torch.no_grad()
def test_spsr_s_gradient_is_that_of_a_ramp():
    ramp = 0.3 * torch.arange(6.0)[:, None] + 0.4 * torch.arange(7.0)
    assert torch.allclose(_gradient(ramp[None, None])[..., 1:-1, 1:-1], torch.tensor(1.0), atol=1e-5)


def test_three_quarters_is_matlabs_bicubic():
    image = torch.randn(2, 1, 24, 16, dtype=torch.float64)
    assert torch.allclose(_three_quarters(image), data.bicubic(image, 0.75), rtol=0, atol=1e-12)


@torch.no_grad()
def test_lapsrn_x3_is_its_x4_network_shrunk():
    four, three = narrow("lapsrn", 4), narrow("lapsrn", 3)
    three.load_state_dict(four.state_dict())
    low = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    assert torch.allclose(luminance(three(low)), _three_quarters(luminance(four(low))), rtol=0, atol=1e-12)


@torch.no_grad()
def test_lapsrn_starts_from_bilinear_up_sampling():
    network = LapSRN(2, width=4, depth=1).double()
    for parameter in network.levels[0].residual.parameters():
        parameter.zero_()
    low = torch.rand(1, 3, 9, 8, dtype=torch.float64)
    wanted = torch.nn.functional.interpolate(luminance(low), scale_factor=2, mode="bilinear")
    assert torch.allclose(luminance(network(low))[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["vdsr", "idn"])
@torch.no_grad()
def test_residual_networks_without_their_last_layer_are_bicubic(name):
    network, low = NARROW[name](3), torch.rand(1, 3, 9, 8)
    last = network.residual if name == "idn" else network.layers[-1]
    for parameter in last.parameters():
        parameter.zero_()
    assert torch.allclose(network(low), upsample(low, 3), rtol=0, atol=1e-6)


def test_covariance_and_its_square_root():
    features = torch.randn(2, 6, 9, 5, dtype=torch.float64)
    found = _covariance(features)
    wanted = torch.stack([torch.cov(image.flatten(1), correction=0) for image in features])
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    root = _square_root(found, iterations=20)
    assert torch.allclose(root @ root, found, rtol=0, atol=1e-10)
    error = (_square_root(found) @ _square_root(found) - found).norm() / found.norm()
    assert 1e-4 < error < 0.1  # five iterations come near


@torch.no_grad()
def test_a_non_local_block_sees_all_of_its_quarter_and_nothing_else():
    torch.manual_seed(0)
    block, features = _NonLocal(6).double(), torch.randn(1, 6, 7, 6, dtype=torch.float64)
    assert torch.equal(block(features), features)  # first weights: the identity
    torch.nn.init.normal_(block.back.weight)
    part = features[..., :3, :3]  # the first half is the smaller one
    query = block.query(part).flatten(2)
    key, value = (embed(part)[..., :2, :2].amax((2, 3))[..., None] for embed in (block.key, block.value))
    mixed = value @ torch.softmax(query.mT @ key, dim=2).mT
    wanted = part + block.back(mixed.unflatten(2, (3, 3)))
    assert torch.allclose(block(features)[..., :3, :3], wanted, rtol=0, atol=1e-12)
    other = features.clone()
    other[..., 3:, 3:] += 1
    changed = (block(other) != block(features)).any(dim=1)[0]
    assert changed[3:, 3:].all() and changed.sum() == 12


@torch.no_grad()
def test_san_ends_with_the_first_features():
    trunk = SAN(2, width=16, groups=2, blocks=1).deep.double()
    for group in trunk.groups:
        for parameter in group.last.parameters():
            parameter.zero_()
    features = torch.randn(1, 16, 6, 5, dtype=torch.float64)
    assert torch.allclose(trunk(features), 2 * features, rtol=0, atol=1e-12)  # of weight 1, once
    trunk.share.fill_(0.5)
    assert torch.allclose(trunk(features), 3 * features, rtol=0, atol=1e-12)  # two groups add a half each


@pytest.mark.parametrize("name", GLOBAL)
def test_a_constant_image_has_finite_gradients(name):
    network = NARROW[name](2)
    network(torch.full((1, 3, 8, 8), 0.5)).sum().backward()
    network(torch.full((1, 3, 1, 1), 0.5)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
