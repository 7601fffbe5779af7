"""How far a decode can be trusted: counted by hand on small genotypes, and against closed forms of chance."""

import pandas as pd
import pytest
import torch

from hinas_nb.evidence import stability
from hinas_nb.experiment.config import SearchConfig, Space
from hinas_nb.method.decode import decide
from hinas_nb.method.genotype import OPERATIONS, Genotype

SPACE = Space(layers=2, nodes=2)
A = Genotype((0, 1), (((("skip", 0), ("conv_3", 1)), (("sep_3", 0), ("dil_3", 2))),) * 2)
B = Genotype((0, 0), (A.cells[0], ((("skip", 0), ("sep_5", 1)), (("sep_3", 1), ("dil_3", 2)))))


def record(genotype: Genotype, epoch: int = 1, best: bool = False) -> dict:
    numbers = dict.fromkeys(("weight_loss", "architecture_loss", "op_entropy", "op_margin", "skip_count"), 0)
    scores = {"validation_psnr": 20.0, "validation_ssim": 0.5}
    return {"epoch": epoch, "best": best, "genotype": genotype.to_json(), **scores, **numbers}


def test_changes_count_inputs_and_levels():
    assert stability.count_changes(A, A) == 0
    assert stability.count_changes(A, B) == stability.count_changes(B, A) == 3  # an operation, a source, a level


def test_differences_pair_what_was_changed():
    assert stability.differences(A, A).empty
    rows = stability.differences(A, B).to_dict("records")
    assert rows == [
        {"layer": 2, "input of": "node 0", "before": "conv_3 from layer l-2", "after": "sep_5 from layer l-2"},
        {"layer": 2, "input of": "node 1", "before": "sep_3 from layer l-1", "after": "sep_3 from layer l-2"},
    ]
    old, new = ((("sep_3", 0), ("dil_3", 1)),), ((("conv_3", 0), ("sep_5", 1)),)
    swapped = stability.differences(Genotype((0,), (old,)), Genotype((0,), (new,)))
    assert swapped["after"].tolist() == ["conv_3 from layer l-1", "sep_5 from layer l-2"]
    moved = Genotype((0,), ((*old, (("dil_3", 0), ("sep_3", 1))),))
    crossed = Genotype((0,), ((*old, (("sep_3", 0), ("dil_3", 2))),))
    assert stability.differences(moved, crossed)["after"].tolist() == [
        "dil_3 from node 0",
        "sep_3 from layer l-1",
    ]


def test_the_last_best_epoch_is_picked_else_the_last():
    records = [record(A, 1, True), record(A, 2, True), record(B, 3)]
    assert stability.picked(records)["epoch"] == 2
    assert stability.picked(records[2:])["epoch"] == 3


def test_history_counts_from_the_epoch_before_and_from_the_picked_one():
    table = stability.history([record(B, 1), record(A, 2, True), record(A, 3)])
    assert table["unlike the epoch before"].tolist() == [0, 3, 0]
    assert table["unlike the picked one"].tolist() == [3, 0, 0]


SKIPS = Genotype((0, 0), (((("skip", 0), ("skip", 1)), (("skip", 0), ("skip", 1))),) * 2)


def epochs_of(*skips: int, warmup: int = 0, best: int = 0) -> list[dict]:
    """Return records of a search with so many skips each; in the warm-up there is no loss of an architecture."""
    rows = [record(SKIPS if count > 4 else A, epoch, epoch == best) for epoch, count in enumerate(skips, 1)]
    return [
        row | {"skip_count": count, "architecture_loss": None if row["epoch"] <= warmup else 0.1}
        for row, count in zip(rows, skips)
    ]


def test_a_collapse_begins_where_skips_exceed_chance_for_good():
    found = stability.takeover(epochs_of(2, 8, 2, 8, 8), SPACE)
    assert found.epoch == 4 and found.collapsed and 2 <= found.most < 8
    assert stability.takeover(epochs_of(2, 8, 2), SPACE) == (None, False, found.most)


def test_skips_that_lead_as_soon_as_alphas_move_are_no_collapse():
    found = stability.takeover(epochs_of(0, 0, 8, 8, warmup=2), SPACE)
    assert (found.epoch, found.at_once, found.collapsed) == (3, True, False)
    later = stability.takeover(epochs_of(0, 0, 1, 8, warmup=2), SPACE)
    assert (later.epoch, later.at_once, later.collapsed) == (4, False, True)
    assert stability.takeover(epochs_of(8, 8, warmup=2), SPACE).epoch is None, "equal alphas prefer nothing"


def test_every_search_is_told_that_ends_in_skips():
    calm, gone, late = epochs_of(0, 0), epochs_of(0, 8, best=1), epochs_of(0, 0, 8, warmup=1, best=3)
    most = stability.takeover(calm, SPACE).most
    said = stability.takeovers_in_words({0: calm, 5: gone, 6: late, 7: epochs_of(0, 8, warmup=1)}, SPACE)
    assert said == (
        f"of 4 searches 3 end in skips (more than {most}): "
        "seed 5 collapses from epoch 2 on, where the early stop picked 1, before that; "
        "seed 6 collapses from epoch 3 on, where the early stop picked 3, too late; "
        "seed 7 at once, from epoch 2 on, the first in which alphas move"
    )
    said = stability.takeovers_in_words({0: calm}, SPACE)
    assert said == f"no search of 1 collapses within 2 epochs (chance gives up to {most} skips)"


def test_margins_are_those_of_the_decision():
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(2, 5, 7, generator=generator).softmax(-1).tolist()
    betas = [[[0, 0, 0.6], [0, 1, 0.4]], [[0, 0, 0.5], [0, 1, 0.5], [1, 0, 0.2], [1, 1, 0.5], [1, 2, 0.3]]]
    decision = decide(weights, betas, SPACE)
    found = stability.decoded_inputs({"genotype": decision.genotype.to_json(), "op_weights": weights}, OPERATIONS)
    assert found["margin"].tolist() == pytest.approx(decision.op_margins)
    assert (found["runner-up"] != "none").all() and (found["weight"] > found["margin"]).all()
    assert found["operation"].tolist() == [op for c in decision.genotype.cells for n in c for op, _ in n]


def test_equal_genotypes_agree_wholly_and_random_ones_by_chance():
    table = stability.against_chance([A, A], SPACE, draws=2000)
    shared = table.loc[stability.SHARED]
    assert shared["found"] == 100 and shared["p"] == pytest.approx(1 / 2001)
    # Node 0 has two inputs of two (all shared), node 1 shares 2/3 of an input of three; one operation of six.
    assert shared["random"] == pytest.approx(100 * (1 + 2 / 3) / 2 / 6, abs=1)
    assert table.loc["skips in a genotype", "random"] == pytest.approx(8 / 6, abs=0.1)


def test_a_liking_for_an_operation_is_no_agreement_on_where_it_goes():
    """Dealt anew, an input has the same operation in both by the squares of how often each is used."""
    names = [name for cell in A.cells for inputs in cell for name, _ in inputs]
    dealt = stability.against_chance([A, A], SPACE, draws=2000).loc[stability.DEALT]
    often = sum((names.count(name) / len(names)) ** 2 for name in set(names))
    assert dealt["found"] == 100 and dealt["random"] == pytest.approx(100 * often, abs=1.5)
    skips = Genotype(A.levels, [[[("skip", source) for _, source in inputs] for inputs in cell] for cell in A.cells])
    table = stability.against_chance([skips, skips], SPACE, draws=50)
    assert table.loc[stability.SHARED, "p"] < 0.05 and table.loc[stability.DEALT, "p"] == 1


def test_one_genotype_shares_nothing_but_is_compared():
    table = stability.against_chance([A], SPACE, draws=50)
    assert stability.SHARED not in table.index and table.loc["skips in a genotype", "found"] == 2
    assert table.equals(stability.against_chance([A], SPACE, draws=50))


def test_fixed_widths_stay_fixed_by_chance_too():
    table = stability.against_chance([A, A], SPACE.but(levels=(0, 1)), draws=20)
    assert table.loc["width levels two seeds share (%)", "random"] == 100


@pytest.mark.parametrize(
    "margin, seeds, p, dealt, begins",
    [
        (0.001, 3, 0.01, 0.01, "no evidence of a preference: the operation that is kept leads the next by 0.001"),
        (0.1, 1, None, None, "undecided whether it is a preference"),
        (0.1, 2, 0.01, 0.01, "undecided whether it is a preference"),
        (0.1, 3, 0.3, 0.3, "no evidence of a preference: "),
        (0.1, 3, 0.01, 0.3, "no evidence of a preference other than for some operations: "),
        (0.1, 3, 0.01, 0.01, "supports a preference: "),
    ],
)
def test_a_verdict_needs_margins_seeds_and_agreement(margin, seeds, p, dealt, begins):
    rows = [{"found": 50.0, "random": 10.0, "p": p}, {"found": 50.0, "random": 40.0, "p": dealt}]
    chance = pd.DataFrame(rows, index=[stability.SHARED, stability.DEALT])
    inputs = pd.DataFrame({"margin": [margin] * 3})
    assert stability.verdict(inputs, chance, seeds, operations=7).startswith(begins)


def test_recipes_change_one_thing_each_and_all_of_it_at_last():
    search = SearchConfig(epochs=10, warmup_epochs=3, validate_from=8)
    recipes = stability.recipes(search)
    changed_to = {name: search.but(**recipe) for name, recipe in recipes.items()}
    published = changed_to["published"]
    assert published == search.but(warmup_epochs=2, weight_lr=0.025)
    differ = {
        name: {field for field in type(one).model_fields if getattr(one, field) != getattr(published, field)}
        for name, one in changed_to.items()
    }
    alone = [fields for name, fields in differ.items() if name not in ("published", "all")]
    assert all(alone) and sum(map(len, alone)) == len(set().union(*alone)), "each changes what no other does"
    assert differ["all"] == set().union(*alone) and differ["published"] == set()


@pytest.mark.parametrize("epochs, times, given", [(10, 2, 20), (60, 2, 100), (100, 2, None), (10, 1, None)])
def test_a_search_is_lengthened_up_to_the_published_epochs(epochs, times, given):
    search = SearchConfig(epochs=epochs, warmup_epochs=3, validate_from=8)
    assert stability.longer(search, times) == ({"epochs": given, "validate_from": 3} if given else {})


def test_a_recipe_is_told_by_its_skips_and_its_last_epochs():
    rows = []
    for arm, seeds in {"published": ((8, 8), (0, 8)), "all": ((0, 8), (0, 1))}.items():
        for seed, skips in enumerate(seeds):
            for row in epochs_of(0, *skips, warmup=1):
                shown = {"receptive_radius": 5 + row["epoch"], "searched_share": 0.1 * row["epoch"]}
                rows.append(row | {"arm": arm, "seed": seed} | shown)
    table = stability.by_recipe(pd.DataFrame(rows), SPACE)  # as collected: no loss is NaN there
    assert table["recipe"].tolist() == ["published", "all"] and table["end in skips"].tolist() == [2, 1]
    assert table["from epoch"].tolist() == [2.5, 3] and table["at once"].tolist() == [1, 0]
    assert table["skips"].tolist() == [8, 4.5] and table["searches"].tolist() == [2, 2]
    assert table["radius (pixels)"].tolist() == [8, 8] and table["searched share"].tolist() == pytest.approx([0.3, 0.3])
    assert stability.recipes_in_words(table) == "published 2 of 2 (1 at once), all 1 of 2"
