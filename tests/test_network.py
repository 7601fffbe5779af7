"""The derived network: published parameter counts, any size, halo, folding, weights files."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hinas_nb import data, files
from hinas_nb.experiment.config import EvaluateConfig, TrainConfig  # noqa: F401 (imported first: protocol needs settings)
from hinas_nb.method import network
from hinas_nb.method.genotype import Genotype, random_genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.method.operations import conv_norm
from hinas_nb.scoring import evaluate


def alike(levels, first, second, nodes):
    return Genotype(levels, (tuple(((first, 0), (second, 1)) for _ in range(nodes)),) * len(levels))


@pytest.mark.parametrize(("task", "width", "first", "second", "levels", "scale", "released", "live"), [
    ("denoise", 20, "conv_3", "sep_3", (0, 1, 2), None, 303_849, 257_769),
    ("denoise", 20, "conv_3", "sep_3", (0, 0, 0), None, 209_569, 209_569),
    ("denoise", 20, "sep_5", "dil_3", (1, 2, 2), None, 380_249, 380_249),
    ("denoise", 20, "dil_5", "skip", (1, 1, 2), None, 512_529, 512_529),
    ("denoise", 40, "conv_3", "sep_3", (0, 0, 0), None, 452_369, 452_369),
    ("sr", 16, "conv_3", "sep_3", (0, 1), 2, 266_788, 239_140),
    ("sr", 16, "sep_5", "dil_3", (0, 0), 3, 262_011, 262_011),
    ("sr", 16, "sep_5", "dil_3", (1, 2), 4, 356_000, 356_000),
])  # fmt: skip
def test_parameter_counts_are_the_released_ones(task, width, first, second, levels, scale, released, live):
    genotype = alike(levels, first, second, 4 if task == "denoise" else 3)
    net = DerivedNetwork(genotype, task, width, scale=scale)
    assert (net.parameters_released, net.parameters_live) == (released, live)


@pytest.mark.parametrize(("levels", "layer"), [
    ((0, 0, 0), None), ((0, 1, 0), None), ((1, 2, 2), None), ((0, 0, 1), 1), ((0, 1, 2), 0), ((1, 0, 1), 1),
])  # fmt: skip
def test_low_level_feature_comes_from_the_last_level_0_layer_before_the_final_one(levels, layer):
    assert DerivedNetwork(alike(levels, "conv_3", "skip", 2), base_width=4).low_layer == layer


def draw(task, seed, **changes):
    layers, nodes = (3, 4) if task == "denoise" else (2, 3)
    genotype = random_genotype(layers, nodes, torch.Generator().manual_seed(seed))
    net = DerivedNetwork(genotype, task, 4, scale=2 if task == "sr" else None, **changes)
    generator = torch.Generator().manual_seed(seed)
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return net.eval()


@pytest.mark.parametrize("task", ["denoise", "sr"])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (17, 5)])
@torch.no_grad()
def test_any_size(task, size):
    net = draw(task, 0)
    restored = net(torch.rand(1, 3 if task == "sr" else 1, *size))
    assert restored.shape[-2:] == tuple(side * net.scale for side in size)


@pytest.mark.parametrize("task", ["denoise", "sr"])
@pytest.mark.parametrize("seed", range(4))
def test_halo_is_the_receptive_field(task, seed):
    net = draw(task, seed).double()
    size, middle = 2 * net.halo + 9, net.halo + 4
    x = torch.rand(1, 3 if task == "sr" else 1, size, size, dtype=torch.float64, requires_grad=True)
    pixels = slice(middle * net.scale, (middle + 1) * net.scale)
    net(x)[..., pixels, pixels].sum().backward()
    rows = x.grad.abs().amax((0, 1, 3)).nonzero().flatten()
    assert middle - int(rows[0]) == int(rows[-1]) - middle == net.halo


@pytest.mark.parametrize("task", ["denoise", "sr"])
@torch.no_grad()
def test_tiled_inference_is_whole_image_inference(task):
    net = draw(task, 1).double()
    x = torch.rand(1, 3 if task == "sr" else 1, 61, 47, dtype=torch.float64)
    tiled = evaluate.restore(net, x, net.halo, tile=16)
    assert torch.allclose(tiled, net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (11, 6)])
def test_upsampling_is_torchs_bicubic(scale, size):
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    wanted = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
    assert torch.allclose(network.upsample(x, scale), wanted, rtol=0, atol=1e-12)


def test_upsampling_does_not_depend_on_where_a_pixel_stands():
    x = torch.rand(1, 1, 9, 900)
    far = network.upsample(x, 3)[..., 3 * 803 : 3 * 897]
    assert torch.allclose(far, network.upsample(x[..., 800:], 3)[..., 9 : 3 * 97], rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", ["denoise", "sr"])
@torch.no_grad()
def test_folding_changes_nothing(task):
    net = draw(task, 2)
    x = torch.rand(2, 3 if task == "sr" else 1, 20, 15)
    folded = net.folded()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(x), net(x), rtol=1e-5, atol=1e-5)
    assert net.training is False and any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())


def test_residual_off_gives_the_network_output_alone():
    net = draw("denoise", 3)
    plain = DerivedNetwork(net.genotype, base_width=4, residual=False)
    plain.load_state_dict(net.state_dict())
    x = torch.rand(1, 1, 12, 12)
    assert torch.allclose(net(x), plain.eval()(x) + x)


def test_weights_file_round_trip(tmp_path):
    net = draw("sr", 4, residual=False)
    path = tmp_path / "weights.safetensors"
    files.write_tensors(path, net.state_dict(), net.metadata())
    loaded = network.load(path)
    x = torch.rand(1, 3, 9, 9)
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.allclose(loaded(x), net(x)) and loaded.trained["scale"] == 2 and not loaded.training


def test_files_that_are_not_ours_are_refused(tmp_path):
    foreign, corrupt = tmp_path / "foreign.safetensors", tmp_path / "corrupt.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    corrupt.write_bytes(b"not safetensors at all")
    for path in (foreign, corrupt):
        with pytest.raises(ValueError, match="must be weights written by a hinas-nb training Run") as error:
            network.load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("arguments", "line"), [
    ({"task": "blur"}, "task must be one of denoise sr, got 'blur'"),
    ({"task": "sr"}, "scale must be 2, 3 or 4 for sr and None for denoise, got None for sr"),
    ({"scale": 2}, "scale must be 2, 3 or 4 for sr and None for denoise, got 2 for denoise"),
    ({"width_factors": (1, 2)}, r"levels must be below 2, got \(0, 1, 2\)"),
    ({"base_width": 0}, "base_width must be a whole number of at least 1, got 0"),
    ({"base_width": 2.5}, "base_width must be a whole number of at least 1, got 2.5"),
    ({"width_factors": (0.01, 1, 2)}, "width_factors must leave at least 1 channel of 20"),
    ({"task": "sr", "scale": 2.0}, "scale must be 2, 3 or 4 for sr and None for denoise, got 2.0 for sr"),
])  # fmt: skip
def test_what_is_refused(arguments, line):
    with pytest.raises(ValueError, match=line):
        DerivedNetwork(alike((0, 1, 2), "conv_3", "skip", 2), **arguments)


@pytest.mark.parametrize("channels", [20, 24, 32, 50])
def test_dilated_layers_have_right_gradients_under_bfloat16(channels):
    """torch 2.13 gives NaN, or finite wrong numbers, for most numbers of channels; a layer of ours does not."""
    layer = nn.Sequential(*conv_norm(channels, channels, 3, dilation=2)).to(memory_format=torch.channels_last)
    images = torch.randn(2, channels, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            output = layer(images.contiguous(memory_format=torch.channels_last))
        (gradient,) = torch.autograd.grad((output.float() * seen).sum(), layer[0].weight)
        found.append(gradient)
    assert torch.allclose(*found, rtol=0, atol=0.02 * float(found[0].abs().max()))


@pytest.mark.parametrize("fold", [2, 4])
@pytest.mark.parametrize("noise_map", [False, True])
def test_a_folded_network_restores_any_size_in_tiles_as_whole(fold, noise_map):
    net = DerivedNetwork(random_genotype(2, 2, data.stream(0, "fold")), base_width=4, fold=fold, noise_map=noise_map)
    net = net.double().eval()
    image = torch.rand(1, net.channels, 4 * net.halo + 7, net.halo + 5, dtype=torch.float64)
    whole = net(image)
    assert whole.shape == (1, 1, *image.shape[-2:])
    assert torch.allclose(evaluate.restore(net, image, net.halo, tile=net.halo + 1), whole, rtol=0, atol=1e-12)


def test_folding_is_pixel_unshuffle_and_undone_at_the_end():
    image = torch.rand(2, 1, 8, 12)
    assert torch.equal(network.folded(image, 2), nn.functional.pixel_unshuffle(image, 2))
    odd = torch.rand(2, 1, 7, 5)
    unfolded = network.add_residual(torch.zeros_like(odd), network.folded(odd, 2), 1, True, fold=2)
    assert torch.equal(unfolded, odd)


def test_the_halo_of_a_folded_network_reaches_as_far_as_its_receptive_field():
    net = DerivedNetwork(random_genotype(2, 2, data.stream(0, "halo")), base_width=4, fold=2).double().eval()
    size, middle = 2 * net.halo + 10, net.halo + 4
    image = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    reached = []
    for pixel in (middle, middle + 1):  # the two of a fold reach as far as the halo to one side each
        (gradient,) = torch.autograd.grad(net(image)[0, 0, pixel, pixel], image)
        rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
        reached += [pixel - int(rows[0]), int(rows[-1]) - pixel]
    assert max(reached) == net.halo


def test_a_noise_map_changes_what_is_restored_and_belongs_to_denoising():
    net = DerivedNetwork(random_genotype(1, 2, data.stream(0, "map")), base_width=4, fold=2, noise_map=True).eval()
    noisy = torch.rand(1, 1, 12, 12)
    weak, strong = (net(data.with_noise_map(noisy, sigma)) for sigma in (5, 50))
    assert not torch.equal(weak, strong)
    with pytest.raises(ValueError, match="fold and noise_map belong to denoise, got None and True for sr"):
        DerivedNetwork(net.genotype, "sr", scale=2, noise_map=True)


def test_without_norms_every_convolution_has_a_bias_and_the_file_says_so(tmp_path):
    genotype = random_genotype(2, 2, data.stream(0, "plain"))
    net = DerivedNetwork(genotype, base_width=4, norms=False)
    assert net.training and not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    assert all(layer.bias is not None for layer in net.modules() if isinstance(layer, nn.Conv2d) and layer.groups == 1)
    files.write_tensors(tmp_path / "w.safetensors", net.state_dict(), net.metadata())
    again = network.load(tmp_path / "w.safetensors")
    image = torch.rand(1, 1, 12, 14)
    assert not again.norms and torch.allclose(again(image), net.eval()(image), rtol=0, atol=1e-6)
    assert torch.allclose(net.folded()(image), net(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("how", "channels", "wanted"), [
    ({}, 3, 1), ({"noise_map": True}, 1, 2), ({"task": "sr", "scale": 2}, 1, 3),
])  # fmt: skip
def test_images_of_other_channels_are_refused(how, channels, wanted):
    net = DerivedNetwork(alike((0, 0), "conv_3", "skip", 2), base_width=2, **how)
    with pytest.raises(ValueError, match=f"image must have {wanted} channels for .*, got {channels}"):
        net(torch.rand(1, channels, 8, 8))
