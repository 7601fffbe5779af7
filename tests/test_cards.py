"""A shipped network's card holds numbers of stored Runs only, and the file that it describes can be restored with."""

import json
import shutil

import numpy as np
import pandas
import pytest
from made_up_runs import noted, weights

import hinas_nb
from hinas_nb import __main__
from hinas_nb.data import stream
from hinas_nb.evidence import stats
from hinas_nb.experiment.config import EvaluateConfig, TrainConfig
from hinas_nb.experiment.runs import canonical
from hinas_nb.method.genotype import random_genotype
from hinas_nb.scoring import protocol
from hinas_nb.use import networks

TRAINING = TrainConfig(genotype=random_genotype(2, 2, stream(0, "card")), sigma=50.0, steps=1000)
OTHER = TRAINING.but(seed=7)
IMAGES = ["a", "b", "c"]


def scored(root, name, model, psnr, sigma=50.0):
    """An evaluate Run with these PSNR."""
    kind = protocol.get("denoise-standard", sigma=sigma)
    config = EvaluateConfig(model=model, data="BSDS500", split="test", protocol=kind)
    folder = root / "evaluate" / name
    folder.mkdir(parents=True)
    table = pandas.DataFrame({"image": IMAGES, "psnr": psnr, "ssim": 0.7, "height": 100, "width": 200, "seconds": 0.5})
    (folder / "scores.csv").write_text(table.to_csv(index=False))
    noted(folder, config=json.loads(json.dumps(canonical(config.identity()))))


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "SHIPPED", tmp_path / "shipped")
    root = tmp_path / "results" / "laptop" / "runs"
    folder = root / "train" / "ab"
    weights(folder / "weights.safetensors")
    config = json.loads(json.dumps(canonical(TRAINING.identity())))
    noted(folder, config=config, summary={"validation_psnr": 25.0}, seconds=7200.0)
    scored(root, "1", TRAINING, [26.0, 27.0, 25.5])
    scored(root, "2", "input", [14.0, 14.5, 14.2])
    scored(root, "3", "nlm", [26.5, 27.2, 25.9])
    scored(root, "4", OTHER, [40.0, 40.0, 40.0])  # of another network
    scored(root, "5", "bm3d", [39.0, 39.0, 39.0], sigma=30.0)  # of other noise
    return tmp_path / "results"


def test_the_card_is_computed_from_the_runs_of_this_network(results, tmp_path, capsys):
    assert __main__.main(["--results", str(results), "publish", "ab"]) == 0
    card = (tmp_path / "shipped" / "denoise.safetensors").with_suffix(".md")
    assert capsys.readouterr().out == f"wrote {card.with_suffix('.safetensors')}\nwrote {card}\n"
    lines = card.read_text().splitlines()
    text = " ".join(" ".join(lines).split())
    rows = [line for line in lines if line.startswith("| BSDS500 test | sigma 50 | denoise-standard | 3 |")]
    assert len(rows) == 3 and "40.00" not in text and "39.00" not in text
    low, high = stats.over_images(np.subtract([26.0, 27.0, 25.5], [26.5, 27.2, 25.9]))
    assert any("Non-local means | 26.53 | 0.7000 | " in row and f"[{low:+.2f}, {high:+.2f}]" in row for row in rows)
    assert "- Worse than Non-local means on BSDS500 test, sigma 50: -0.37 " in text
    assert "- Gains least on c of BSDS500 test, sigma 50: +11.30 dB." in text
    assert (
        "25.00 to 25.00 s per megapixel of output" in text
        and "them; 1 thread of " in text
        and "2.0 hours on cpu with 1 thread" in text
    )
    assert "non-commercial research" in text and "Run `ab" in text


def test_a_score_without_that_of_the_input_stands_in_the_card_all_the_same(results, tmp_path):
    scored(results / "laptop" / "runs", "6", TRAINING, [30.0, 31.0, 32.0], sigma=30.0)
    assert __main__.main(["--results", str(results), "publish", "ab"]) == 0
    assert "| sigma 30 |" in (tmp_path / "shipped" / "denoise.md").read_text()


def test_without_any_score_of_the_input_the_card_names_no_least_gain(results, tmp_path):
    shutil.rmtree(results / "laptop" / "runs" / "evaluate" / "2")
    assert __main__.main(["--results", str(results), "publish", "ab"]) == 0
    assert "Gains least" not in (tmp_path / "shipped" / "denoise.md").read_text()


def test_what_is_published_is_what_is_restored_with(results, tmp_path):
    said = []
    noisy = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
    with pytest.raises(networks.RestoreError, match="is not shipped"):
        hinas_nb.restore(noisy, sigma=50)
    assert __main__.main(["--results", str(results), "publish", "ab"]) == 0
    hinas_nb.restore(noisy, sigma=50, tell=said.append)
    assert said[0].startswith("network: denoise, shipped with")


def test_without_scores_there_is_no_card_and_no_file(results, tmp_path, capsys):
    for path in (results / "laptop" / "runs" / "evaluate").rglob("run.json"):
        path.unlink()
    assert __main__.main(["--results", str(results), "publish", "ab", "--to", str(tmp_path / "to")]) == 2
    assert capsys.readouterr().err == (
        "hinas-nb: a card needs evaluate Runs of the network beside it, got none of Run ab\n"
    )
    assert not (tmp_path / "to").exists()
