"""The search loop: what a step may change, the plain supernet's losses, what is recorded, decoded and kept."""

import json

import pytest
import torch
from pictures_for_tests import DoublePairs, image_set

from hinas_nb.experiment.config import SearchConfig, Space
from hinas_nb.method.decode import decode
from hinas_nb.method.genotype import Genotype, random_in
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.method.operations import seeded
from hinas_nb.method.supercell import plain_supernet
from hinas_nb.method.supernet import Supernet
from hinas_nb.running.store import RunFolder
from hinas_nb.speed import cost
from hinas_nb.training import unrolled
from hinas_nb.training.loops import score
from hinas_nb.training.search import _State, candidate, search, weight_lr

#: Losses of the first three W and A steps. If these move, old Runs must not be served: raise REVISIONS["search"].
GOLDEN_WEIGHT = [0.7445211, 0.3683218, 0.3879104]
GOLDEN_ARCHITECTURE = [0.4770397, 0.5259340, 0.4225499]


def config(**changes):
    space = {"base_width": 2, "nodes": 2} | changes.pop("space", {})
    small = {"patch": 16, "batch": 2, "epochs": 4, "warmup_epochs": 1, "validate_from": 2, "data": "folder:/pictures"}
    return SearchConfig(**({"space": space, "split": "all"} | small | changes))


def splits(count=3):
    return image_set(count, seed=0), image_set(count, seed=1), image_set(1, seed=2)


def state(**changes):
    return _State(config(**changes), splits(), torch.device("cpu"))


def folder(tmp_path, **changes):
    return RunFolder(tmp_path, config(**changes), "0" * 64, {})


def run(tmp_path, **changes):
    place = folder(tmp_path, **changes)
    place.begin("cpu", 1)
    return list(search(config(**changes), splits(), place)), place


def test_golden_steps():
    search_state = state()
    search_state.net.double().train()
    search_state.weight_pairs = DoublePairs(search_state.weight_pairs)
    search_state.architecture_pairs = DoublePairs(search_state.architecture_pairs)
    pairs = [(search_state.architecture_step(step), search_state.weight_step(step)) for step in range(3)]
    assert [a for a, _ in pairs] == pytest.approx(GOLDEN_ARCHITECTURE, rel=1e-6)
    assert [w for _, w in pairs] == pytest.approx(GOLDEN_WEIGHT, rel=1e-6)


@pytest.mark.parametrize("kind", ["weight", "architecture"])
def test_a_step_leaves_the_other_parameters_bit_identical(kind):
    search_state = state()
    other = search_state.architecture_parameters if kind == "weight" else search_state.weight_parameters
    own = search_state.weight_parameters if kind == "weight" else search_state.architecture_parameters
    before, moved = [p.detach().clone() for p in other], [p.detach().clone() for p in own]
    getattr(search_state, f"{kind}_step")(0)
    assert all(torch.equal(a, b) for a, b in zip(before, other))
    assert not all(torch.equal(a, b) for a, b in zip(moved, own))


def test_twenty_steps_have_the_losses_of_the_plain_supernet():
    ours, plain = state(), state()
    ours.net.double()
    plain.net = plain_supernet(ours.net)
    plain.weight_parameters = plain.net.network_parameters()
    plain.architecture_parameters = list(plain.net.architecture.parameters())
    for one in (ours, plain):
        one.weight_optimizer = torch.optim.SGD(one.weight_parameters, 0.025, 0.9, weight_decay=3e-4)
        one.architecture_optimizer = torch.optim.Adam(one.architecture_parameters, 1e-3, weight_decay=1e-3)
        for pairs in (one.weight_pairs, one.architecture_pairs):
            pairs.batch = (lambda draw: lambda step: tuple(x.double() for x in draw(step)))(pairs.batch)
    for step in range(10):
        for kind in ("architecture_step", "weight_step"):
            assert getattr(ours, kind)(step) == pytest.approx(getattr(plain, kind)(step), rel=1e-8)


def test_records_and_the_kept_genotype(tmp_path):
    records, place = run(tmp_path)
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert records[0].architecture_loss is None and records[1].architecture_loss is not None  # warm-up
    assert records[1].validation_psnr is None and records[2].validation_psnr is not None  # validate_from
    assert records[0].op_margin == 0 and records[3].op_margin > 0
    best = max(records[2:], key=lambda r: score(r.validation_psnr, r.validation_ssim))
    assert [r for r in records if r.best][-1] is best
    kept = Genotype.from_json(place.read_text("genotype.json"), "denoise")
    assert kept == Genotype.from_json(best.genotype)
    assert sum(best.operation_counts.values()) == 3 * 2 * 2
    assert best.skip_count == best.operation_counts.get("skip", 0)
    assert place.records() == [json.loads(json.dumps(vars(record))) for record in records]


@pytest.mark.parametrize("gain", [1e-6, 99.0])
def test_the_warm_up_ends_once_v_is_restored_or_after_its_epochs(tmp_path, gain):
    """A step from the identity, AdamW is above the input after an epoch or two; never by 99 dB."""
    fair = {"weight_optimizer": "adamw", "near_identity": True, "crops_per_image": 8, "validation_crop": 32}
    records, _ = run(tmp_path, epochs=5, warmup_epochs=4, validate_from=4, warmup_gain=gain, **fair)
    searching = [record.epoch for record in records if record.architecture_loss is not None]
    first = searching[0]
    assert searching == list(range(first, 6))
    watched = [record.validation_psnr for record in records[: first - 1]]
    assert None not in watched and not any(record.best for record in records[:4])
    noisy = _State(config(**fair), splits(), torch.device("cpu")).input_psnr
    assert all(psnr < noisy + gain for psnr in watched[:-1])
    assert first == 5 if gain == 99 else first < 5


def test_an_interrupted_search_goes_on_with_its_alphas(tmp_path):
    early = {"warmup_gain": 1e-6, "weight_optimizer": "adamw", "near_identity": True, "warmup_epochs": 3}
    whole, _ = run(tmp_path / "whole", **early)
    place = folder(tmp_path / "parts", **early)
    place.begin("cpu", 1)
    next(search(config(**early), splits(), place))
    rest = list(search(config(**early), splits(), place))
    cost = {"seconds": 0, "peak_memory_mib": 0}
    assert [vars(record) | cost for record in rest] == [vars(record) | cost for record in whole[1:]]


def test_a_fair_start_is_near_the_identity():
    """The residual is a tenth of what the first weights give, less what the bias adds."""
    plain, near = state(), state(near_identity=True)
    assert torch.allclose(near.net.head.output.weight, plain.net.head.output.weight / 10)
    assert torch.equal(near.net.stem1[0].weight, plain.net.stem1[0].weight)


def test_v_is_the_centre_of_every_image_where_a_crop_is_asked_for():
    searching = state(validation_crop=40)
    degraded, clean = searching.validation
    whole = splits()[2].grey().images[0]
    assert clean.shape == (1, 1, 40, 40) and torch.equal(clean[0] * 255, whole[:, 4:44, 4:44].float())
    expected = -10 * (degraded.clamp(0, 1) - clean).square().mean().log10()
    assert searching.input_psnr == pytest.approx(float(expected), abs=1e-4)


def test_learning_rates_of_the_weights():
    sgd, cycle = config(epochs=10), config(epochs=10, weight_optimizer="adamw")
    assert weight_lr(sgd, 0, 7) == weight_lr(sgd, 6, 7) == 0.025 > weight_lr(sgd, 7, 7)
    rates = [weight_lr(cycle, step, 7) for step in range(70)]
    assert max(rates) == rates[7] == 2e-3 and rates[0] < 1e-4 and rates[-1] < 1e-5


def test_records_tell_how_far_the_found_network_sees_and_what_was_searched(tmp_path):
    records, _ = run(tmp_path, space={"fold": 2})
    net = DerivedNetwork(Genotype.from_json(records[-1].genotype), fold=2)
    assert records[-1].receptive_radius == net.halo
    without = cost.multiply_adds(Fixed(net), 1, 32, 32) / cost.multiply_adds(net, 1, 32, 32)
    assert records[-1].searched_share == pytest.approx(1 - without)


class Fixed(torch.nn.Module):
    """A derived network's stem and head alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        with pytest.MonkeyPatch.context() as patch:
            for cell, adapters in zip(self.net.cells, self.net.adapters):
                width = adapters[0][1].out_channels
                for adapter in adapters:
                    patch.setattr(adapter, "forward", lambda x, width=width: x.new_empty(1, width, *x.shape[-2:]))
                for operation in [one for node in cell.operations for one in node]:
                    patch.setattr(operation, "forward", lambda x: x)
            return self.net(image)


def test_a_finished_search_is_not_computed_again(tmp_path):
    _, place = run(tmp_path)
    place.begin("cpu", 1)
    assert list(search(config(), splits(), place)) == []


@pytest.mark.parametrize("changes", [
    {"space": {"layerwise": False}}, {"space": {"sharing": False}}, {"space": {"levels": (0, 1, 1)}},
    {"space": {"fold": 2}}, {"precision": "bfloat16"}, {"weight_optimizer": "adamw"},
    {"space": {"task": "sr", "scale": 2}}, {"space": {"operations": ("conv_3", "skip", "none")}},
])  # fmt: skip
def test_every_switch_searches(tmp_path, changes):
    changes = {**changes, "epochs": 2, "warmup_epochs": 1, "validate_from": 1}
    _, place = run(tmp_path, **changes)
    space = changes.get("space", {})
    kept = Genotype.from_json(place.read_text("genotype.json"), space.get("task", "denoise"))
    assert kept.levels == space.get("levels", kept.levels)
    assert len(set(kept.cells)) == 1 or space.get("layerwise", True)


def test_random_search_trains_and_picks_a_candidate(tmp_path):
    records, place = run(tmp_path, strategy="random", candidates=3)
    assert all(record.architecture_loss is None and record.validation_psnr is None for record in records)
    candidates = [candidate(config(strategy="random", candidates=3), index) for index in range(3)]
    assert Genotype.from_json(place.read_text("genotype.json")) in candidates


def test_scoring_candidates_changes_no_number(tmp_path):
    short = {"epochs": 2, "validate_from": 1, "space": {"layers": 1}}
    plain, place = run(tmp_path / "plain", **short)
    more, scored = run(tmp_path / "scored", **short, candidates=2)
    cost = {"seconds": 0, "peak_memory_mib": 0}
    assert [vars(record) | cost for record in plain] == [vars(record) | cost for record in more]
    assert place.read_text("genotype.json") == scored.read_text("genotype.json")
    assert len(json.loads(scored.read_text("candidates.json"))) == 2
    assert not (place.path / "candidates.json").exists()


def test_beta_decay_adds_its_gradient_and_leaves_the_loss():
    plain, decayed = state(), state(beta_decay=50)
    steps = plain.weight_pairs.steps_per_epoch
    for one in (plain, decayed):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            one.net.architecture.op_logits.normal_(generator=generator)
    assert list(decayed.penalties(0)) == [0], "its weight grows from zero"
    (last,) = decayed.penalties(3 * steps)
    logits = decayed.net.architecture.op_logits
    assert float(last.detach()) == pytest.approx(50 * 3 / 4 * float(logits.detach().exp().sum(-1).log().mean()))
    (gradient,) = torch.autograd.grad(last, logits)
    edges = logits.numel() / logits.shape[-1]
    assert torch.allclose(gradient, 50 * 3 / 4 / edges * logits.softmax(-1))
    assert decayed.architecture_step(3 * steps) == plain.architecture_step(3 * steps)
    assert not torch.equal(decayed.net.architecture.op_logits, plain.net.architecture.op_logits)


def test_second_order_is_the_gradient_through_the_step_of_the_weights(monkeypatch):
    """Against autograd twice, in float64; the step is clipped, and finite differences are finer than published."""
    monkeypatch.setattr(unrolled, "EPSILON", 1e-7)  # the published 0.01 crosses kinks of a net as tiny as this
    space = Space(layers=1, nodes=2, base_width=2, operations=("conv_3", "sep_3", "skip", "none"))
    with seeded(0):
        net = plain_supernet(Supernet(space)).double().train()
    weights, logits = net.network_parameters(), list(net.architecture.parameters())
    x, y, other_x, other_y = torch.rand(4, 2, 1, 9, 8, generator=torch.Generator().manual_seed(0)).double()
    on_w, on_a = (lambda: (net(x) - y).square().mean()), (lambda: (net(other_x) - other_y).square().mean())
    value, ours = unrolled.gradients(on_w, on_a, weights, logits, rate=0.3, clip=0.5)
    step = torch.autograd.grad(on_w(), weights, create_graph=True, materialize_grads=True)
    length = float(torch.cat([one.detach().flatten() for one in step]).norm())
    assert length > 0.5, "it must be clipped"
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    ahead = {names[id(w)]: w - 0.3 * 0.5 / length * by for w, by in zip(weights, step)}
    loss = (torch.func.functional_call(net, ahead, (other_x,)) - other_y).square().mean()
    exact = torch.autograd.grad(loss, logits, retain_graph=True, materialize_grads=True)
    still = {name: weight.detach() for name, weight in ahead.items()}
    loss_there = (torch.func.functional_call(net, still, (other_x,)) - other_y).square().mean()
    first = torch.autograd.grad(loss_there, logits, materialize_grads=True)
    assert float(value) == pytest.approx(float(loss.detach()))
    missed, second = (sum(float((a - b).square().sum()) ** 0.5 for a, b in zip(exact, them)) for them in (ours, first))
    assert second > 0.01 and missed < 1e-6 * second


def test_a_second_order_step_leaves_the_weights_and_moves_alphas_elsewhere():
    plain, ahead = state(), state(second_order=True)
    before = [parameter.detach().clone() for parameter in ahead.weight_parameters]
    losses = [one.architecture_step(0) for one in (plain, ahead)]
    assert all(torch.equal(a, b) for a, b in zip(before, ahead.weight_parameters))
    assert losses[0] != losses[1]
    assert not torch.equal(plain.net.architecture.op_logits, ahead.net.architecture.op_logits)


def test_a_search_with_partial_channels_moves_its_edges_and_decodes_the_products(tmp_path):
    _, place = run(tmp_path, space={"base_width": 4, "partial": 2}, epochs=3)
    assert Genotype.from_json(place.read_text("genotype.json"), "denoise").nodes == 2
    search_state = state(space={"base_width": 4, "partial": 2})
    search_state.architecture_step(0)
    edges = search_state.net.architecture.edge_logits
    assert edges.shape == (3, 5) and edges.abs().max() > 0
    weights = search_state.net.op_weights().detach()
    sums = weights.sum(-1)
    assert torch.allclose(sums[:, :2].sum(-1), torch.ones(3)) and torch.allclose(sums[:, 2:].sum(-1), torch.ones(3))
    with torch.no_grad():
        edges[:, 4] = 9.0  # of node 1's three inputs the last
        edges[:, 2] = 5.0
    assert all({source for _, source in cell[1]} == {0, 2} for cell in decode(search_state.net).cells)


def test_random_architectures_obey_the_space():
    basic = config(strategy="random", candidates=20, space={"layerwise": False, "levels": (0, 1, 1)})
    drawn = [candidate(basic, index) for index in range(20)]
    assert all(len(set(genotype.cells)) == 1 and genotype.levels == (0, 1, 1) for genotype in drawn)
    assert len(set(drawn)) > 10


def test_a_loss_that_is_not_finite_stops_with_one_line():
    search_state = state()
    with torch.no_grad():
        search_state.net.head.output.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="loss must stay finite, got nan; lower weight_lr or raise warmup_epochs"):
        search_state.weight_step(0)


def test_an_image_smaller_than_a_crop_is_refused():
    with pytest.raises(ValueError, match="must be at least"):
        _State(config(patch=64), splits(), torch.device("cpu"))


def test_a_loop_without_a_folder_gives_the_same_records_and_keeps_nothing(tmp_path):
    kept, _ = run(tmp_path)
    cost_of = {"seconds": 0, "peak_memory_mib": 0}
    alone = [vars(record) | cost_of for record in search(config(), splits())]
    assert alone == [vars(record) | cost_of for record in kept]


def test_a_random_draw_of_a_space_is_in_it():
    """One cell in all layers where it has one, its levels where they are fixed, its operations alone."""
    space = Space(nodes=2, layerwise=False, levels=(0, 1, 1), operations=("conv_3", "skip", "none"))
    drawn = [random_in(space, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(len(set(one.cells)) == 1 and one.levels == space.levels for one in drawn)
    names = {name for one in drawn for cell in one.cells for node in cell for name, _ in node}
    assert names == {"conv_3", "skip"} and len(set(drawn)) > 5
