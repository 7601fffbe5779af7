"""`hinas-nb why`: from a number to its Runs and tables, from a Run to what it rests on."""

import pytest
from made_up_runs import noted

from hinas_nb.reporting.trace import why
from hinas_nb.use import networks

SEARCH = {"kind": "SearchConfig", "seed": 0, "space": {"kind": "Space", "base_width": 10}}
TRAIN = {"kind": "TrainConfig", "genotype": SEARCH, "steps": 11000}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "SHIPPED", tmp_path / "weights")
    runs = tmp_path / "laptop" / "runs"
    plain = {name: value for name, value in SEARCH.items() if name != "kind"}
    noted(runs / "search" / ("a" * 16), what="search seed 0", config=plain, data={"BSDS500/train": "0"})
    train = {name: value for name, value in TRAIN.items() if name != "kind"}
    noted(runs / "train" / ("b" * 16), what="train seed 0", config=train, summary={"validation_psnr": 24.997})
    scored = {"model": TRAIN, "data": "BSDS500"}
    noted(runs / "evaluate" / ("c" * 16), what="evaluate", config=scored, summary={"images": 200, "psnr": 25.4344})
    noted(runs / "search" / ("d" * 16), what="another search", config=plain | {"seed": 1})
    (runs / "search" / ("e" * 16)).mkdir()
    (runs / "search" / ("e" * 16) / "run.json").write_text("damaged")
    (tmp_path / "laptop" / "tables").mkdir()
    (tmp_path / "laptop" / "tables" / "05__scores.csv").write_text(
        'what,PSNR (dB),parameters\ninput,14.9,\nrestored,"25.43 [25.1, 25.8]",161929\n'
    )
    return tmp_path


def test_a_number_is_found_where_a_value_rounds_to_it(results):
    lines = why("25.43", results)
    assert lines[0] == f"laptop/runs/evaluate/{'c' * 16} (evaluate): psnr 25.4344"
    below = [line for line in lines if line.startswith("  from laptop")]
    assert [line.split()[1].split("/")[-1][0] for line in below] == ["a", "b"], "and what it rests on, all the way"
    assert lines[-1] == "laptop/tables/05__scores.csv: row 'restored', column 'PSNR (dB)': 25.43 [25.1, 25.8]"
    assert why("25.00", results)[0].endswith("validation_psnr 24.997")
    assert why("161,929", results) == ["laptop/tables/05__scores.csv: row 'restored', column 'parameters': 161929"]


def test_answers_come_first_and_cards_next_whatever_plus_a_number_is_told_with(results):
    (results / "laptop" / "answers").mkdir()
    (results / "laptop" / "answers" / "22.json").write_text('{"answer": "Faster: A +25.43 times; B 3 times."}')
    (results / "weights").mkdir()
    (results / "weights" / "denoise.md").write_text("# denoise\n\n| sigma 50 | BM3D | +0.29 [+0.24, +25.43] |\n")
    found = ["laptop/answers/22.json: A +25.43 times", "card denoise.md: sigma 50, BM3D, +0.29 [+0.24, +25.43]"]
    assert why("25.43", results)[:2] == why("+25.43", results)[:2] == found
    assert why("0.24", results) == why("+0.24", results) == found[1:]


def test_a_damaged_answer_or_table_is_passed_over_or_named(results):
    answer, table = results / "laptop" / "answers" / "22.json", results / "laptop" / "tables" / "22__empty.csv"
    answer.parent.mkdir()
    table.touch()
    for text in ("{}", '{"answer": null}'):
        answer.write_text(text)
        assert why("25.00", results)[0].endswith("validation_psnr 24.997")
    answer.write_text("[]")
    with pytest.raises(ValueError, match=r"22.json must be a JSON object, got \[\]; delete it"):
        why("25.00", results)


def test_a_row_is_named_by_its_words(results):
    table = results / "laptop" / "tables" / "24__steps.csv"
    table.write_text("seconds,way,phase,times faster\n1.06,checkpoints,A,2.4289\n")
    assert why("2.43", results) == ["laptop/tables/24__steps.csv: row 'checkpoints, A', column 'times faster': 2.4289"]


@pytest.mark.parametrize("word", ["25.44", "25.431", "1.43", "-25.43", "f" * 16])
def test_what_is_nowhere_is_one_line(results, word):
    with pytest.raises(ValueError, match=f"no answer, card, Run or table in .* holds {word}") as error:
        why(word, results)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["zebra", "abc", "1fb5", ""])
def test_what_is_neither_number_nor_hash_is_one_line(results, word):
    with pytest.raises(ValueError, match=r"word must be a number, or six and more digits of a Run's hash, got '"):
        why(word, results)


def test_a_run_that_is_damaged_or_not_finished_is_named(results):
    with pytest.raises(ValueError, match=r"run.json must be JSON .*; delete .* to compute it anew"):
        why("e" * 8, results)
    (results / "laptop" / "runs" / "search" / "ab12cd34ab12cd34").mkdir()
    assert why("ab12cd", results) == [
        "laptop/runs/search/ab12cd34ab12cd34: not finished; hinas-nb status tells how far it is"
    ]


def test_a_run_says_what_it_rests_on_and_what_rests_on_it(results):
    lines = why("a" * 6, results)
    assert lines[0] == f"laptop/runs/search/{'a' * 16} (search seed 0)"
    assert [line.split("/")[-2] for line in lines if "used by" in line] == ["evaluate", "train"]
    assert "  from data BSDS500/train" in lines
    assert not any("used by" in line for line in why("d" * 16, results))
