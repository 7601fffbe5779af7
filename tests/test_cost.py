"""Costs: counted = closed form, foretold memory near what is kept, arms take turns."""

from types import SimpleNamespace

import pytest
import torch

from hinas_nb.data import stream
from hinas_nb.evidence import timing_runs
from hinas_nb.experiment.config import Arm, Comparator, SearchConfig, Space, TimingConfig
from hinas_nb.method.fast import stock
from hinas_nb.method.fast.layers import _STOCK
from hinas_nb.method.genotype import CANDIDATES, random_genotype
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.settings import ConfigError
from hinas_nb.speed import cost
from hinas_nb.training import benchmark

SMALL = Space(layers=2, nodes=2, base_width=4)


@pytest.mark.parametrize("task", ["denoise", "sr"])
@pytest.mark.parametrize("seed", range(4))
def test_counted_multiply_adds_are_the_closed_form(task, seed):
    genotype = random_genotype(3, 4, stream(seed, "test"), CANDIDATES[:-1])
    net = DerivedNetwork(genotype, task, base_width=6, scale=3 if task == "sr" else None)
    channels = 1 if task == "denoise" else 3
    assert cost.multiply_adds(net, channels, 12, 10) == cost.closed_form(net, 12, 10) > 0


def test_stock_layers_are_torchs_and_compute_the_same():
    net = DerivedNetwork(random_genotype(2, 3, stream(0, "test")), base_width=4)
    plain = stock(net)
    assert {type(module) for module in net.modules()} & _STOCK.keys()
    assert not {type(module) for module in plain.modules()} & _STOCK.keys()
    images = torch.rand(2, 1, 9, 11)
    torch.testing.assert_close(plain.train()(images), net.train()(images), rtol=1e-4, atol=1e-5)


def test_memory_grows_with_the_batch_and_shrinks_with_checkpoints():
    space = Space(layers=5, nodes=2, base_width=4)

    def foretold(**changes):
        return cost.search_memory_mib(SearchConfig(space=space, patch=32, **changes))

    small, large = foretold(batch=2), foretold(batch=8)
    assert small["warm-up"] < large["warm-up"] < 4 * small["warm-up"] + 1
    assert large["alpha phase"] >= large["warm-up"]
    assert foretold(batch=8, checkpointing=True)["warm-up"] < large["warm-up"]


def test_memory_is_foretold_for_what_the_device_computes_in():
    config = SearchConfig(space=SMALL, patch=32, batch=2)
    single, half = (cost.search_memory_mib(config, halved)["warm-up"] for halved in (False, True))
    assert half < 0.8 * single
    space = config.space
    assert timing_runs.foretold_memory(space, 2, 32, device="cuda:0")["weights"] == pytest.approx(half)
    assert timing_runs.foretold_memory(space, 2, 32)["weights"] == pytest.approx(single)


def test_a_search_that_does_not_fit_is_told_so_before_it_begins(monkeypatch):
    config = SearchConfig(space=SMALL, patch=32, batch=2)
    monkeypatch.setattr(cost, "free_memory_mib", lambda device: 1.0)
    line = cost.memory_warning(config)
    assert "GiB are free: lower batch or patch, or set checkpointing" in line and "\n" not in line
    monkeypatch.setattr(cost, "free_memory_mib", lambda device: 1e6)
    assert cost.memory_warning(config) is None


@pytest.mark.parametrize("subject", ["training step", "restoration"])
def test_a_gpu_is_waited_for_before_the_clock_starts(monkeypatch, subject):
    events, turns = [], iter([True])

    def recv():
        for turn in turns:
            return turn
        raise EOFError

    monkeypatch.setattr(benchmark, "_prepared", lambda arm, device: lambda: events.append("call"))
    monkeypatch.setattr(benchmark, "_wait", lambda device: events.append("wait"))
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: events.append("clock") or 0.0)
    line = SimpleNamespace(recv=recv, send=lambda told: None)
    benchmark._serve(line, SimpleNamespace(allocator=False, subject=subject), torch.get_num_threads(), "cpu")
    untimed = ["call", "wait"] if subject == "training step" else []
    assert events == [*untimed, "clock", "call", "wait", "clock"]


def test_arms_take_turns_and_are_compared_within_rounds():
    arms = (
        Arm(label="small", subject="matrix product", height=64),
        Arm(label="large", subject="matrix product", height=768),
    )
    records = [vars(record) for record in benchmark.benchmark(TimingConfig(what="products", arms=arms, rounds=3))]
    assert [record["round"] for record in records] == [1, 2, 3]
    table = benchmark.table(records, "large").set_index("arm")
    assert table.loc["large", ["times faster", "low", "high"]].tolist() == [1, 1, 1]
    assert (table["seconds"] > 0).all() and (table["peak (MiB)"] >= 0).all()
    rest = benchmark.benchmark(TimingConfig(what="products", arms=arms, rounds=3), first=3)
    assert list(rest) == []


def test_ratios_are_of_rounds():
    records = [
        {"seconds_by_arm": {"a": a, "b": b}, "peak_mib_by_arm": {"a": 10, "b": 5}}
        for a, b in [(2, 1), (20, 10), (4, 2), (6, 2), (8, 8), (2, 1), (2, 1)]
    ]
    row = benchmark.table(records, "a").set_index("arm").loc["b"]
    assert (row["times faster"], row["low"], row["high"], row["memory, share"]) == (2, 1, 3, 0.5)


def test_an_arm_that_cannot_be_built_is_one_line():
    arms = (Arm(label="odd", subject="restoration", network=Comparator(name="nobody")),)
    with pytest.raises(ValueError, match=r"^odd: comparator must be one of"):
        list(benchmark.benchmark(TimingConfig(what="nothing", arms=arms, rounds=1)))


@pytest.mark.parametrize(
    ("arm", "line"),
    [
        ({"subject": "loader"}, "subject: Input should be"),
        ({"subject": "search step"}, "space and phase belong to a search step, got search step 'x'"),
        ({"subject": "restoration"}, "network belongs to a training step or a restoration, got restoration 'x'"),
    ],
)
def test_impossible_arms(arm, line):
    with pytest.raises(ConfigError, match=line):
        Arm(label="x", **arm)


def test_arms_have_names_of_their_own():
    one = Arm(label="x", subject="matrix product")
    with pytest.raises(ConfigError, match="arms must have different labels"):
        TimingConfig(what="w", arms=(one, one))
