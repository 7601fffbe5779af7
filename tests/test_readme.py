"""What the README says was found is what `results/laptop` holds: every number of it, to the digits it gives."""

import csv
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from hinas_nb import __main__, comparators
from hinas_nb.batch import contract

ROOT = Path(__file__).parents[1]
LAPTOP = ROOT / "results" / "laptop"
TEXT = (ROOT / "README.md").read_text()
README = " ".join(TEXT.split())
FOUND = re.search(r"## What was found so far (.*?) ## ", README)[1]
#: What is no finding: notebooks, the level of intervals, the paper's sections, the setting.
SETTINGS = r"\(`\d\d`\)|notebook `\d\d`|\b95 %|section \d\.\d|sigma 50|BSDS500|revision 1|!\[.*?\]\(.*?\)"


def table(name: str, **where: str) -> list[dict]:
    """The rows of a published table with these cells."""
    with open(LAPTOP / "tables" / f"{name}.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[column] == cell for column, cell in where.items())]


def numbers(name: str, column: str, **where: str) -> list[float]:
    return [float(row[column]) for row in table(name, **where)]


def spread(values: list[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def interval(row: dict, value: str, form: str = "+.2f") -> str:
    return f"{float(row[value]):{form}} [{float(row['low']):{form}}, {float(row['high']):{form}}]"


def answer(notebook: str) -> str:
    return json.loads((LAPTOP / "answers" / f"{notebook}.json").read_text())["answer"]


def summaries(kind: str, **settings) -> list[dict]:
    """What the finished Runs of a kind with these settings say."""
    found = [json.loads(path.read_text()) for path in sorted((LAPTOP / "runs" / kind).glob("*/run.json"))]
    return [run["summary"] for run in found if settings.items() <= run["config"].items()]


def of_the_shipped_denoiser() -> list[str]:
    """What is said of it, with the numbers of its card and of the Runs that the card names."""
    card = (ROOT / "hinas_nb" / "use" / "weights" / "denoise.md").read_text()
    training = json.loads((LAPTOP / "runs" / "train" / re.search(r"Run `(\w+)`", card)[1] / "run.json").read_text())
    genotype = {name: value for name, value in training["config"]["genotype"].items() if name != "kind"}
    runs = [json.loads(path.read_text()) for path in (LAPTOP / "runs" / "search").glob("*/run.json")]
    (search,) = [run for run in runs if run["config"] == genotype]
    alike = {run["seed"]: run["summary"]["skip_count"] for run in runs if run["config"] | {"seed": 0} == genotype}
    first, second, third = (alike[seed] for seed in range(3))
    cells = [[cell.strip() for cell in line.split("|")] for line in card.splitlines() if "| sigma 50 |" in line]
    psnr, gains = {row[5]: row[6] for row in cells}, {row[5]: row[8] for row in cells}
    (images,) = {row[4] for row in cells}
    low, high = training["config"]["sigma_range"]
    assert low == 0
    return [
        f"found by a search of {search['seconds'] / 60:.0f} minutes on one thread",
        f"With three seeds {first}, {second} and {third} of the 24 inputs are skips",
        f"folded 2x2 and trained for {training['seconds'] / 60:.0f} minutes on one thread for all noise",
        f"up to sigma {high:g}",
        f"has {re.search(r'([0-9,]+) parameters', card)[1]} parameters",
        f"On {images} test images at sigma 50 it scores {psnr['this network']} dB, {gains['WNNM']} dB over WNNM, "
        f"{gains['BM3D']} dB over BM3D and {gains['Non-local means']} dB over non-local means",
    ]


def sentences() -> list[str]:
    """The README's words that hold numbers, with the numbers of the tables."""
    network = {row["of the trained network"]: row["value"] for row in table("05_train_and_restore__network")}
    before, after, paper = table("05_train_and_restore__scores")
    (skips,) = table("03_search_denoising__chance", statistic="skips in a genotype")
    inputs = len(table("03_search_denoising__margins"))
    lead, share = re.search(
        r"leads the next by (0\.\d+) \(median\), ([\d.]+)% of an equal share", answer(SEARCHED)
    ).groups()
    assert share == "10.0", "a tenth"
    (search,) = summaries("search", split="train+val")
    (steps,) = set(re.findall(r"([\d,]+) steps", answer("05_train_and_restore")))
    whole, part = (summaries("evaluate", data="BSDS500", every=every)[0]["images"] for every in (1, 5))
    (dncnn,) = table(AUDIT + "margins-denoise", rung="standard", metric="psnr", network="DnCNN-35")
    (likeness,) = table(AUDIT + "margins-denoise", rung="standard", metric="ssim", network="DnCNN-35")
    gains = [table(AUDIT + "steps", network=name, metric="psnr", step="in all")[0] for name in ("HiNAS", "DnCNN-35")]
    losses = [-change for change in numbers(AUDIT + "alone-denoise", "change", metric="psnr", step="half size")]
    misses = [abs(miss) for miss in numbers(AUDIT + "averaging", "miss")]
    (margin,) = re.findall(
        r"published margin of HiNAS over \w+ at sigma 50 is ([\d.]+) dB", answer("23_protocol_audit")
    )
    ssim, psnr = [table("12_ablation_ssim_loss__gains", metric=metric)[0] for metric in ("ssim", "psnr")]
    ours = {
        phase: numbers("24_speed__steps", "times faster", way="ours", baseline="plain", phase=phase) for phase in "WA"
    }
    memory = [100 * part for part in numbers("24_speed__steps", "memory, share", way="ours", baseline="plain")]
    (projected,) = table("24_speed__projection", way="ours")
    unshared = numbers("24_speed__sharing", "memory")
    published = [re.match(r"[\d.]+", paper[column])[0] for column in ("PSNR (dB)", "SSIM")]
    return [
        *of_the_shipped_denoiser(),
        f"{skips['found']} of the {inputs} inputs of the kept architecture are skips",
        f"(random architectures: {float(skips['random 2.5 %']):.0f} to {float(skips['random 97.5 %']):.0f})",
        f"the operation that is kept leads the next by {lead}, a tenth of an equal share",
        f"the width path by {100 * math.expm1(search['width_margin']):.1f} %",
        f"The {whole} test images: {after['PSNR (dB)']} dB / {after['SSIM']}",
        f"from {before['PSNR (dB)']} dB / {before['SSIM']}",
        f"after {steps} steps, {float(network['training (min)']):.0f} minutes on one thread",
        f"400,000 steps: {published[0]} dB / {published[1]}",
        f"{comparators.build('dncnn', 'denoise', width=35).parameters_live:,} parameters",
        f"{interval(dncnn, 'margin').replace(' [', ' dB [')} and {float(likeness['margin']):+.3f} SSIM over HiNAS",
        f"on {part} of these images",
        f"gain {interval(gains[0], 'change')} and {interval(gains[1], 'change')} dB",
        f"HiNAS is published {margin} dB above the next row",
        f"foretells the gain to {max(misses):.2f} dB",
        f"non-local means lose {spread(losses, '.2f')} dB",
        f"raises SSIM, as claimed:** {interval(ssim, 'difference', '+.4f')} over three training seeds",
        f"undecided: {interval(psnr, 'difference')} dB",
        f"{spread(ours['W'], '.1f')} times (weights)",
        f"{spread(ours['A'], '.1f')} times (alphas)",
        f"in {spread(memory, '.0f')} % of its memory",
        f"would take {float(projected['hours']):.1f} h",
        f"(published: {projected['published (GPU h)']} GPU hour)",
        f"a step needs {spread(unshared, '.2f')} times the memory; the paper says 3",
    ]


SEARCHED, AUDIT = "03_search_denoising", "23_protocol_audit__"


def test_every_number_of_what_was_found_is_that_of_the_tables():
    left = FOUND
    for words in sentences():
        assert words in left, f"the tables say: {words}"
        left = left.replace(words, "", 1)
    left = re.sub(SETTINGS, "", left)
    # What is told in words, or of table 10: "three rows".
    assert not re.search(r"\d", left.replace("table 10", "")), f"no table holds: {left}"


def test_the_caption_of_the_picture_is_the_answer_of_its_notebook():
    gained = re.search(r"goes (from [\d.]+ to [\d.]+ dB)", answer("07_your_own_pictures"))[1]
    assert f"installed along: {gained} (notebook `07`)" in README


def test_shares_of_a_step_are_those_of_the_table():
    """A quarter and a third, as `docs/speed.md` says in words."""
    told = " ".join((ROOT / "docs" / "speed.md").read_text().split())
    assert "depthwise convolutions take a quarter and batch norms' sums a third of the plain supernet's" in told
    for part, share in {"depthwise convolutions": 1 / 4, "batch norms' sums": 1 / 3}.items():
        ours, plain = [
            numbers("24_speed__parts", "seconds an image", way=f"{way}, batch 2", phase="W", part=part)[0]
            for way in ("ours", "plain")
        ]
        assert abs(ours / plain - share) < 0.02


def test_the_collapse_is_told_as_it_was():
    """Alphas begin to move in epoch 5; skips are most in the same one."""
    before, first = table("03_search_denoising__history")[3:5]
    assert not before["loss on A"] and first["loss on A"], "the first epoch in which alphas move"
    assert int(before["skips"]) == 0 and int(first["skips"]) > 8 and "it collapses at epoch 5" in answer(SEARCHED)


def test_every_command_is_one():
    """What they do is tested elsewhere, and by CI; here, that they are spelt as what is tested."""
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S) for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for program, *arguments in commands:
        assert program in ("make", "hinas-nb", "python3", "source", "pip")
        if program == "make":
            assert arguments[0] in targets
        if program == "hinas-nb":
            options = __main__._parser().parse_args(arguments)
            assert contract.find(getattr(options, "notebooks", ["all"]), ROOT / "notebooks")
    assert {tuple(command[:2]) for command in commands} >= {("make", "reproduce"), ("hinas-nb", "restore")}


def test_three_lines_restore_a_picture(tmp_path, monkeypatch):
    clean = data.camera()[100:164, 200:280]
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 50, clean.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
    assert sum(map(bool, lines.splitlines())) == 3
    exec(lines, {})
    restored = np.asarray(Image.open("clean.png")).astype(float)
    assert ((restored - clean) ** 2).mean() < ((noisy.astype(float) - clean) ** 2).mean() / 2


def test_the_table_links_each_notebook_to_its_executed_copy():
    rows = re.findall(r"^\| \[`(\w+)`\]\((.+?)\) \|.*\| (?:\[executed\]\((.+?)\))? ?\|$", TEXT, re.M)
    copies = {path.stem: f"results/laptop/executed/{path.name}" for path in (LAPTOP / "executed").glob("*.ipynb")}
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {name for name, *_ in rows} == names
    for name, source, copy in rows:
        assert source == f"notebooks/{name}.ipynb" and copy == copies.get(name, "")
