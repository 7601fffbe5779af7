"""What README and findings say was found is what `results/laptop` holds: every number of it, to the digits it gives."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from hinas_nb import __main__, comparators
from hinas_nb.batch import contract
from hinas_nb.evidence import paper_tables, rivals, stability, timing_runs
from hinas_nb.evidence.stability import DEALT, SHARED
from hinas_nb.experiment.config import SearchConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.scoring.units import METRICS

ROOT = Path(__file__).parents[1]
LAPTOP = ROOT / "results" / "laptop"
TEXT = (ROOT / "README.md").read_text()
README = " ".join(TEXT.split())
FINDINGS = (ROOT / "docs" / "findings.md").read_text()
FOUND = re.search(r"# What was found so far (.*)", " ".join(FINDINGS.split()))[1]
#: What is no finding: notebooks, the level of intervals, the paper's sections, the setting.
SETTINGS = (
    r"DnCNN-35|\(`\d\d`(, `\d\d`)?\)|(notebook|in) `\d\d`|\b95 %|section \d\.\d(\.\d)?|\bR[12]\b|"
    r"sigma 50|BSDS500|BSD68|CVPR 2020|revision 1|bfloat16|!\[.*?\]\(.*?\)"
)


def table(name: str, **where: str) -> list[dict]:
    """The rows of a published table with these cells."""
    with open(LAPTOP / "tables" / f"{name}.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[column] == cell for column, cell in where.items())]


def numbers(name: str, column: str, **where: str) -> list[float]:
    return [float(row[column]) for row in table(name, **where)]


def spread(values: list[float], form: str) -> str:
    return " to ".join(dict.fromkeys(f"{end:{form}}" for end in (min(values), max(values))))


def interval(row: dict, value: str, form: str = "+.2f") -> str:
    return f"{float(row[value]):{form}} [{float(row['low']):{form}}, {float(row['high']):{form}}]"


def answer(notebook: str) -> str:
    return json.loads((LAPTOP / "answers" / f"{notebook}.json").read_text())["answer"]


def summaries(kind: str, **settings) -> list[dict]:
    """What the finished Runs of a kind with these settings say."""
    found = [json.loads(path.read_text()) for path in sorted((LAPTOP / "runs" / kind).glob("*/run.json"))]
    return [run["summary"] for run in found if settings.items() <= run["config"].items()]


def fifth() -> int:
    """How many images are scored where every fifth is."""
    (images,) = {run["images"] for run in summaries("evaluate", data="BSDS500", every=5, split="test")}
    return images


def of_the_shipped_denoiser() -> list[str]:
    """What is said of it, with the numbers of its card and of the Runs that the card names."""
    card = (ROOT / "hinas_nb" / "use" / "weights" / "denoise.md").read_text()
    training = json.loads(
        (LAPTOP / "runs" / "train" / re.search(r"^Run `(\w+)`", card, re.M)[1] / "run.json").read_text()
    )
    genotype = {name: value for name, value in training["config"]["genotype"].items() if name != "kind"}
    runs = [json.loads(path.read_text()) for path in (LAPTOP / "runs" / "search").glob("*/run.json")]
    (search,) = [run for run in runs if run["config"] == genotype]
    cells = [[cell.strip() for cell in line.split("|")] for line in card.splitlines() if "| sigma 50 |" in line]
    psnr, gains = {row[5]: row[6] for row in cells}, {row[5]: row[8] for row in cells}
    assert {row[4] for row in cells} == {f"{fifth()}, one in 5"}
    low, high = training["config"]["sigma_range"]
    assert low == 0
    return [
        f"found by a search of {search['seconds'] / 60:.0f} minutes on one thread",
        f"Trained on pixels folded 2x2, for {training['seconds'] / 60:.0f} minutes on one thread and for all noise",
        f"up to sigma {high:g}",
        f"has {re.search(r'([0-9,]+) parameters', card)[1]} parameters",
        f"On every fifth image at sigma 50 it scores {psnr['this network']} dB, {gains['WNNM']} dB over WNNM, "
        f"{gains['BM3D']} dB over BM3D and {gains['Non-local means']} dB over non-local means",
    ]


def of_equal_time() -> list[str]:
    """What is said of trainings of equal time, of seconds, and of the published scores beside them."""
    before, after, paper = table("05_train_and_restore__scores")
    published = [re.match(r"[\d.]+", paper[column])[0] for column in ("PSNR (dB)", "SSIM")]
    denoisers, upscalers = [
        {row["arm"]: row for row in table(f"{name}__equal-time", images=images)}
        for name, images in zip(COMPARED, ("BSDS500, sigma 50", "Set14, x4"))
    ]
    filters = [*table(f"{COMPARED[0]}__equal-time", arm="BM3D"), *table(f"{COMPARED[0]}__equal-time", arm="WNNM")]
    assert {row["images"] for row in filters} == {"fifth-of-BSDS500, sigma 50"}
    others = [[row for arm, row in rows.items() if row["seconds"] and arm != HINAS] for rows in (denoisers, upscalers)]
    shares = [spread([float(row["of HiNAS's seconds"]) for row in rows], ".2f") for rows in others]
    (images,) = {run["images"] for run in summaries("evaluate", data="BSDS500", every=1)}
    assert {row["steps"] for row in (denoisers["HiNAS"], upscalers["HiNAS"])} == {"1000.0", "1800"}
    assert max(float(row["mean, PSNR"]) for row in denoisers.values()) == float(denoisers["HiNAS"]["mean, PSNR"])
    assert max(float(row["mean, PSNR"]) for row in upscalers.values()) == float(upscalers["HiNAS"]["mean, PSNR"])
    slower = [re.search(r"Of (\d+) systems .*?, (\d+) are slower here", answer(name)).groups() for name in COMPARED]
    count, here = (sum(int(pair[index]) for pair in slower) for index in (0, 1))
    times = dict(re.findall(r"(\w+) ([\d.]+ \(published [\d.]+\))", " ".join(map(answer, COMPARED))))
    less, longer = re.search(
        r"HiNAS needs ([\d.]+) times fewer multiply-adds than DnCNN and takes ([\d.]+) times", answer("22_trade_off")
    ).groups()
    assert abs(float(longer) - 1) < 0.1, "about as long"
    (ffdnet,) = table("22_trade_off__systems", network="FFDNet")

    def behind(row: dict) -> str:
        ends = (float(row[f"{name}, PSNR"]) for name in ("low", "high"))
        return "{} {:+.2f} [{:+.2f}, {:+.2f}] dB".format(row["arm"], float(row["PSNR - HiNAS's (dB)"]), *ends)

    return [
        f"*Every fifth image* means {fifth()} of the {images} test images",
        f"all test images: {after['PSNR (dB)']} dB / {after['SSIM']} from {before['PSNR (dB)']} dB / "
        f"{before['SSIM']}; {behind(denoisers['FFDNet'])}, {behind(denoisers['DnCNN'])}",
        f"FFDNet has {float(denoisers['FFDNet'][LEAD]):+.4f} SSIM",
        f"takes {float(ffdnet['times HiNAS']):.2f} times as long",
        f"x4, Set14: {upscalers['HiNAS']['mean, PSNR']} dB / {upscalers['HiNAS']['mean, SSIM']}; "
        f"{behind(upscalers['IMDN'])}, {behind(upscalers['SPAN'])}",
        f"{published[0]} dB / {published[1]} for denoising",
        f"IMDN takes {times['IMDN']}, IDN {times['IDN']}, LapSRN {times['LapSRN']}",
        f"the denoisers took {shares[0]} and the super-resolvers {shares[1]} times HiNAS's seconds",
        f"on every fifth image {', '.join(map(behind, filters)).replace('BM3D', 'BM3D has')}",
        f"{here} systems of {count}",
        f"{less} times fewer multiply-adds than DnCNN",
    ]


def of_the_searches() -> list[str]:
    """What is said of the preference of three searches a task, and of skips."""
    shared = [[chance_of(name, statistic) for statistic in (SHARED, DEALT)] for name in SEARCHED]
    found, random, dealt = ([float(pair[i][column]) for pair in shared] for i, column in COLUMNS)
    p = [float(row["p"]) for row in shared[0]]
    skips = chance_of(SEARCHED[0], "skips in a genotype")
    sources = [chance_of(name, "inputs two seeds share, whatever the operation (%)") for name in SEARCHED]
    from_where = [{column: float(row[column]) for column in ("found", "random", "p")} for row in sources]
    ours, inputs = [run["skip_count"] for run in searched("denoise")], len(table(f"{SEARCHED[0]}__margins"))
    assert float(skips["found"]) == np.mean(ours)
    assert "of 3 searches 2 end in skips" in answer(SEARCHED[0]) and "of 3 searches 1 ends" in answer(SEARCHED[1])
    assert all("collapses" not in answer(name) and "at once" in answer(name) for name in SEARCHED)
    return [
        f"share {found[0]:.0f} % of their inputs in the mean (a source and an operation), random architectures "
        f"{random[0]:.0f} % "
        f"(p = {p[0]:.3f})",
        f"dealt anew to their inputs {dealt[0]:.0f} % (p = {p[1]:.2f})",
        f"for super-resolution it is {found[1]:.0f}, {random[1]:.0f} and {dealt[1]:.0f} %",
        f"they share to {from_where[0]['found']:.0f} %, random architectures to {from_where[0]['random']:.0f} % "
        f"(p = {from_where[0]['p']:.3f}); for super-resolution {from_where[1]['found']:.0f} and "
        f"{from_where[1]['random']:.0f} % (p = {from_where[1]['p']:.2f})",
        f"{np.mean(ours):.0f} of {inputs} inputs in the mean of three denoising searches "
        f"({ours[0]}, {ours[1]} and {ours[2]})",
        f"lies in {float(skips['random 2.5 %']):.0f} to {float(skips['random 97.5 %']):.0f}",
        "more skips than 97.5 % of random architectures have",
    ]


def of_latency() -> list[str]:
    """What is said of searches that know milliseconds, and of the plain one beside random architectures."""
    name = "16_latency_aware_search__"
    by_seed, networks = table(f"{name}by-seed"), table(f"{name}networks")
    assert {row["seeds"] for row in by_seed} == {"3"} and len(by_seed) == 3
    faster, scores = [f"{float(row['ms']):.0f}" for row in by_seed], [interval(row, "psnr") for row in by_seed]
    (skips,) = {row["skips"] for row in networks if row["kind"] == by_seed[-1]["kind"]}
    random = [float(row["ms"]) for row in networks if row["kind"] == "random"]
    assert len(random) == 6 and max(float(row["ms"]) for row in networks if row["kind"] != "random") < min(random)
    (mild,) = table(f"{name}gained", kind=by_seed[0]["kind"])
    (plain,) = table(f"{name}beyond", kind="plain")
    return [
        f"{faster[0]}, {faster[1]} and {faster[2]} % milliseconds at {scores[0]}, {scores[1]} and {scores[2]} dB on V "
        f"after {load_profile('laptop').train('denoise', timing_runs.GENOTYPE).steps:,} steps",
        f"nothing but skips, {skips} of 24 inputs",
        f"the mildest gains {interval(mild, 'excess')} dB over the plain search",
        f"The plain search lies {interval(plain, 'excess')} dB above six random architectures",
    ]


def of_stability() -> list[str]:
    """What is said of long searches, of what they find, of recipes and of rankings."""
    name = "15_search_stability"
    short = load_profile("laptop").search("denoise")
    long = short.but(**stability.longer(short, times=2))
    effects = {row["treatment"]: interval(row, "difference") for row in table(f"{name}__differences", metric="psnr")}
    levels = "width levels two seeds share (%)"
    alike = {row["statistic"]: row for row in table(f"{name}__alike", search="long")}
    recipes = {row["recipe"]: row for row in table(f"{name}__recipes")}
    totals = [sum(int(row[column]) for row in recipes.values()) for column in ("searches", "end in skips", "at once")]
    skips, scores = ([float(recipes[one][column]) for one in ("AdamW", "published")] for column in ("skips", "V (dB)"))
    assert skips[0] == min(float(row["skips"]) for row in recipes.values()) and len(recipes) == 6
    decayed = numbers(f"{name}__ends", "skips, last", search="beta-DARTS")
    picked = numbers(f"{name}__ends", "picked epoch", search="long")
    assert sum(epoch == long.epochs for epoch in picked) == 2 and "(2 of 3 are the same)" in answer(name)
    measured = {row["question"]: row["measured"] for row in table(f"{name}__questions")}
    (by_search,), (by_random,) = (
        re.findall(r"tau \S+ \[.*?\]", measured[f"The supernet of {one} ranks as training alone does"])
        for one in ("search", "RSWS")
    )
    (begins,) = re.findall(
        r"of 3 searches 3 end .*?: seed 0 collapses (from epoch \d+ on), [^;]*; seed 1 at once, [^;]*; seed 2 at once",
        answer(name),
    )
    return [
        f"In searches of {long.epochs} epochs (published: {SearchConfig().epochs}) alphas move for "
        f"{long.epochs - long.warmup_epochs} epochs, in those of this budget for {short.epochs - short.warmup_epochs}",
        f"All three seeds end in skips: one collapses, {begins}",
        f"share {float(alike[SHARED]['found']):.0f} % of their inputs in the mean, the same architectures with their "
        f"operations dealt anew {float(alike[DEALT]['random']):.0f} % (p = {float(alike[DEALT]['p']):.3f}); of width "
        f"levels they share {float(alike[levels]['found']):.0f} %, random ones {float(alike[levels]['random']):.0f} %",
        f"Trained for {load_profile('laptop').train('denoise', timing_runs.GENOTYPE).steps:,} steps",
        f"the last epoch's architecture {effects['last epoch']} dB",
        f"that of a search half as long {effects['short search']} dB, nine random ones {effects['random']} dB",
        f"{totals[1]} of {totals[0]} searches end so, {totals[2]} at once",
        f"{skips[0]:.0f} in place of {skips[1]:.0f} of 24 inputs, and its supernet scores {scores[0]:.1f} in place "
        f"of {scores[1]:.1f} dB on V",
        f"ends with {spread(decayed, '.0f')} skips",
        f"{by_search} for the search's, {by_random.removeprefix('tau ')} for one trained by random architectures",
    ]


def of_chance() -> list[str]:
    """What is said of found and chosen architectures beside random ones of their latency."""
    above = {(row["kind"], row["images"]): row for row in table("17_better_than_chance__above-chance")}
    each = table("17_better_than_chance__architectures")
    means = {kind: np.mean([float(row["test"]) for row in each if row["kind"] == kind]) for kind in ("found", "chosen")}
    ms = {kind: np.median([float(row["ms"]) for row in each if row["kind"] == kind]) for kind in means}
    pools = re.search(r"what was found: (.*? dB) beside (\d+) random", answer("17_better_than_chance"))
    random = [row for row in each if row["kind"] == "random"]
    fastest = min(float(row["ms"]) for row in random)
    assert sorted(float(row["ms"]) < fastest for row in each if row["kind"] == "found") == [False, True, True]
    return [
        f"beside a line through {len(random)} random architectures by latency, after "
        f"{load_profile('laptop').denoise.best.rounds[1]:,} steps with three training seeds each, "
        f"{interval(above['found', 'V'], 'above random')} dB on V and "
        f"{interval(above['found', 'test'], 'above random')} dB on every fifth test image",
        f"after {load_profile('laptop').denoise.best.rounds[0]} steps, beside a line through {pools[2]} random ones, "
        f"{pools[1]}",
        f"{interval(above['chosen', 'V'], 'above random')} and {interval(above['chosen', 'test'], 'above random')} dB",
        f"they score {means['chosen']:.2f} dB where found ones score {means['found']:.2f} dB on the test images, and "
        f"take {ms['chosen']:.0f} ms an image where those take {ms['found']:.0f}",
    ]


def of_three_hours() -> list[str]:
    """What is said of the network that was kept, beside others, and of minutes and milliseconds."""
    where = {"data": "BSDS500", "degradation": "50.0", "metric": "psnr"}
    (kept,) = numbers("06_best_for_three_hours__scores", "mean", arm=HINAS, **where)
    lead = {row["control"]: row for row in table("06_best_for_three_hours__lead", **where)}
    points = {row["kind"]: row for row in table("06_best_for_three_hours__points")}
    ms = {name: float(row["ms"]) for name, row in points.items()}
    minutes = {name: float(row["minutes"]) for name, row in points.items()}
    stages = {row["stage"]: int(row["Runs"]) for row in table("06_best_for_three_hours__spent")}
    assert stages["search"] == 3 and stages["long"] == 1
    pools = [table("06_best_for_three_hours__tried", round=f"pool {number}") for number in range(3)]
    best = [max(pool, key=lambda row: float(row["PSNR on V (dB)"])) for pool in pools]
    assert all(row["number"] != "0" for row in best), "drawn at random: what was found stands first"

    def ahead(name: str) -> str:
        values = (float(lead[name][column]) for column in ("difference", "images_low", "images_high"))
        return f"{METRICS['psnr'].text(*values)} dB over {name}"

    core, clock = re.search(
        r"After ([\d.]+) core hours \(on two cores ([\d.]+) hours at least\)", answer("06_best_for_three_hours")
    ).groups()
    there = where | {"data": "BSD68"}
    here = {row["arm"]: float(row["mean"]) for row in table("06_best_for_three_hours__scores", **there)}
    theirs = paper_tables.elsewhere().query("data == 'BSD68' and degradation == 50").set_index("system")["psnr"]
    height, width = timing_runs.shapes(load_profile("laptop").search("denoise").space.base_width).image
    return [
        f"one image of {height}x{width} pixels",
        f"{sum(stages.values()) - 4} short trainings",
        f"one long training for all noise up to sigma 75 took {core} core hours, on two cores {clock} hours at least",
        f"kept scores {kept:.2f} dB: {ahead('BM3D')}, {ahead('WNNM')}, {ahead('FFDNet')}, {ahead('DnCNN')} and "
        f"{ahead('random').replace('random', 'a random architecture of its size')}",
        f"on BSD68 they score {here['FFDNet']:.2f} and {here['DnCNN']:.2f} dB where their papers have "
        f"{theirs['FFDNet']} and {theirs['DnCNN']} dB; the kept network scores {here[HINAS]:.2f} dB there",
        f"takes {ms[HINAS]:,.0f} ms an image, FFDNet {ms['FFDNet']:,.0f} and DnCNN {ms['DnCNN']:,.0f}",
        f"trained for {minutes[HINAS]:.0f} minutes on a busy machine, FFDNet for {minutes['FFDNet']:.0f}, DnCNN for "
        f"{minutes['DnCNN']:.0f}",
    ]


def chance_of(name: str, statistic: str) -> dict:
    (row,) = table(f"{name}__chance", statistic=statistic)
    return row


def searched(task: str) -> list[dict]:
    """What the searches of the budget say in the end, in the order of their seeds."""
    runs = [json.loads(path.read_text()) for path in (LAPTOP / "runs" / "search").glob("*/run.json")]
    wanted = {seed: load_profile("laptop").search(task, seed=seed).identity() for seed in range(3)}
    return [next(run["summary"] for run in runs if run["config"] == one) for one in wanted.values()]


def of_the_loss() -> list[str]:
    """What is said of its SSIM term, and of the published differences beside it."""
    found = {(row["task"], row["metric"]): row for row in table("12_ablation_ssim_loss__gains")}
    assert {row["seeds"] for row in found.values()} == {"3"}
    steps = [found[task, "psnr"]["note"].removesuffix(" steps") for task in ("denoise", "sr")]
    gains, losses = (
        [interval(found[task, metric], "difference", form) for task in ("denoise", "sr")]
        for metric, form in (("ssim", "+.4f"), ("psnr", "+.2f"))
    )
    verdicts = [
        table("12_ablation_ssim_loss__verdicts", claim="ssim-keeps-psnr", images=images)[0]
        for images in ("sigma 50", "x4")
    ]
    assert {row["verdict"] for row in verdicts} == {"contradicts"}
    published = []
    for number in (4, 5):
        psnr = paper_tables.table(number).query("metric == 'psnr'").set_index(["row", "data", "degradation"])["value"]
        published += list(psnr["HiNAS**"] - psnr["HiNAS"])
    assert len(published) == 6
    paper = load_profile("paper")
    trainings = paper.train("denoise", timing_runs.GENOTYPE), paper.train("sr", rivals.as_published("sr"), scale=4)
    more = [one.steps / int(count.replace(",", "")) for one, count in zip(trainings, steps)]
    return [
        f"after {steps[0]} and {steps[1]} steps: denoising at sigma 50, every fifth image, {gains[0]} SSIM and "
        f"{losses[0]} dB",
        f"x4 on Set14, {gains[1]} SSIM and {losses[1]} dB",
        f"Published: {spread(published, '+.2f')} dB in six comparisons of one training each, "
        f"with {spread(more, '.0f')} times as many steps",
    ]


def of_sharing() -> list[str]:
    """What is said of searches with and without cell sharing, and of the older HiNAS."""
    gains = {(row["task"], row["metric"]): row for row in table("14_cell_sharing__gains")}
    psnr = [gains[task, "psnr"] for task in ("denoise", "sr")]
    assert {row["seeds"] for row in psnr} == {"3"} and {"sharing-keeps-scores"} >= {
        row["claim"] for row in table("14_cell_sharing__verdicts") if row["verdict"] == "undecided"
    }
    seen = [f"{float(row['detectable']):.2f}" for row in psnr]
    memory, time = ([gains[task, metric] for task in ("denoise", "sr")] for metric in ("search_memory", "gpu_hours"))
    (said,) = {row["published"] for row in table("14_cell_sharing__verdicts", claim="sharing-third")}
    older = {row["metric"]: -float(row["difference"]) for row in table("14_cell_sharing__older-gains")}
    slower = re.search(r"make restoring ([\d.]+) and training", answer("14_cell_sharing"))[1]
    return [
        f"{interval(psnr[0], 'difference')} dB at sigma 50 on every fifth image, {interval(psnr[1], 'difference')} dB "
        f"at x4 on Set14; from {seen[0]} and {seen[1]} dB on",
        f"need {float(memory[0]['difference']):.0f} % and {float(memory[1]['difference']):.0f} % memory, where the "
        f"paper says {said} %",
        f"and {interval(time[0], 'difference', '.0f')} % and {interval(time[1], 'difference', '.0f')} % time, where it "
        f"prints {float(time[0]['published']):.0f} %",
        f"with deformable convolutions, scores {-older['psnr']:.2f} dB less and {older['ssim']:.4f} SSIM more",
        f"restoring {slower} times as slow (`14`)",
    ]


def of_widths() -> list[str]:
    """What is said of searched widths beside hand-made ones."""
    rows = {(row["comparison"], row["images"], row["metric"]): row for row in table("11_ablation_width__verdicts")}
    psnr, published, size = (
        [rows[f"ws - {arm}", images, metric] for arm in ("w40", "wm")]
        for images, metric in (("sigma 50", "PSNR (dB)"), ("sigma 30", "PSNR (dB)"), ("sigma 30", "parameters (%)"))
    )
    assert {row["verdict"] for row in psnr} == {"undecided"} and {row["seeds"] for row in psnr} == {"3"}
    seen = [row["smallest detectable"] for row in psnr]
    printed = [row["published"].split()[0] for row in published]
    return [
        f"{psnr[0]['ours']} dB beside layers that are all 40 wide, {psnr[1]['ours']} dB beside 20, 40 and 80, "
        f"with {size[0]['ours']} and {size[1]['ours']} % parameters",
        f"From {seen[0]} and {seen[1]} dB on a gain",
        f"trained for {psnr[0]['note'].removeprefix('ours: ')}",
        f"Published, of one training each at {published[0]['images']}: "
        f"{printed[0]} and {printed[1]} dB with {size[0]['published']} and {size[1]['published']} % parameters",
    ]


def of_perturbations() -> list[str]:
    """What is said of the found architecture with other connections and other convolutions."""
    losses = {
        (row["treatment"], row["task"]): row
        for row in table("13_perturbations__losses", control="found", metric="psnr")
    }
    assert {row["seeds"] for row in losses.values()} == {"3"}
    steps = [losses["R2", task]["note"].removesuffix(" steps") for task in ("denoise", "sr")]
    r1, r2 = ([interval(losses[kind, task], "difference") for task in ("denoise", "sr")] for kind in ("R1", "R2"))
    seen = [f"{float(losses['R2', task]['detectable']):.2f}" for task in ("denoise", "sr")]
    least = {
        images: float(losses["R1", task]["detectable"]) for images, task in (("sigma 30", "denoise"), ("x4", "sr"))
    }
    printed = {
        (row["comparison"].split()[0], row["images"]): row["published"].split()[0]
        for row in table("13_perturbations__verdicts", metric="PSNR (dB)")
        if row["published"] and row["comparison"].endswith("found")
    }
    assert all(-float(printed["R1", images]) < smallest for images, smallest in least.items())
    return [
        f"after {steps[0]} and {steps[1]} steps: with other connections (R2) it scores {r2[0]} dB at sigma 50 on every "
        f"fifth image and {r2[1]} dB at x4 on Set14; with other convolutions (R1) {r1[0]} and {r1[1]} dB",
        f"From {seen[0]} and {seen[1]} dB on a loss by R2",
        f"R2 {printed['R2', 'sigma 30']} dB at sigma 30 and {printed['R2', 'x4']} dB at x4, "
        f"R1 {printed['R1', 'sigma 30']} and {printed['R1', 'x4']} dB",
    ]


def of_before() -> list[str]:
    """What is said of the protocol audit, and of Runs of revision 1."""
    dncnn, older = (
        json.loads(next((LAPTOP / "runs" / "evaluate").glob(f"{name}*/run.json")).read_text()) for name in OLDER
    )
    assert [one["config"]["model"]["steps"] for one in (dncnn, older)] == [14500, 11000]
    more = {metric: dncnn["summary"][metric] - older["summary"][metric] for metric in ("psnr", "ssim")}
    gains = [table(AUDIT + "steps", network=name, metric="psnr", step="in all", task="denoise")[0] for name in NETS]
    fresh = {"metric": "psnr", "step": "fresh noise for each tile"}
    averaged = [numbers(AUDIT + "steps", "change", network=name, **fresh)[0] for name in NETS]
    cut = {"metric": "psnr", "step": "tiles of one noisy image"}
    cutting = [numbers(AUDIT + "steps", "change", network=name, **cut)[0] for name in NETS]
    (upscaled,) = table(AUDIT + "steps", network=NETS[0], metric="psnr", step="in all", task="sr")
    rest = [abs(float(gain["change"]) - sum(parts)) for gain, *parts in zip(gains, averaged, cutting)]
    assert max(rest) < 0.01
    losses = [-change for change in numbers(AUDIT + "alone-denoise", "change", metric="psnr", step="half size")]
    misses = [abs(miss) for miss in numbers(AUDIT + "averaging", "miss")]
    (margin,) = re.findall(
        r"published margin of HiNAS over \w+ at sigma 50 is ([\d.]+) dB", answer("23_protocol_audit")
    )
    return [
        f"DnCNN-35 ({comparators.build('dncnn', 'denoise', width=35).parameters_live:,} parameters, 14,500 steps) "
        f"minus HiNAS (11,000 steps, about the same time): {more['psnr']:+.2f} dB and {more['ssim']:+.3f} SSIM",
        f"(Runs `{OLDER[0]}` and `{OLDER[1]}`)",
        f"{interval(gains[0], 'change')} and {interval(gains[1], 'change')} dB",
        f"HiNAS is published {margin} dB above the next row",
        f"brings {averaged[0]:+.2f} and {averaged[1]:+.2f} dB, cutting into tiles {cutting[0]:+.2f} and "
        f"{cutting[1]:+.2f} dB, all else less than 0.01 dB",
        f"x4 the two protocols are not told apart: {interval(upscaled, 'change')} dB",
        f"foretells what averaging brings within {max(misses):.2f} dB",
        f"non-local means lose {spread(losses, '.2f')} dB",
    ]


def of_speed() -> list[str]:
    """What is said of a search step, beside the plain one, without cell sharing and in bfloat16."""
    ours = {
        phase: numbers("24_speed__steps", "times faster", way="ours", baseline="plain", phase=phase) for phase in "WA"
    }
    each = [row for row in table("24_speed__steps", way="ours", baseline="plain")]
    single = [
        f"{min(float(row['low']) for row in each if row['phase'] == phase):.1f} to "
        f"{max(float(row['high']) for row in each if row['phase'] == phase):.1f}"
        for phase in "WA"
    ]
    memory = [100 * float(row["memory, share"]) for row in each]
    (projected,) = table("24_speed__projection", way="ours")
    unshared = [spread(numbers("24_speed__sharing", "memory", task=task), ".2f") for task in ("denoise", "sr")]
    halved = {row["step"]: interval(row, "times faster", ".2f") for row in table("24_speed__precision", way="bfloat16")}
    where = json.loads((LAPTOP / "answers" / "24_speed.json").read_text())["provenance"]["machine"]
    change = re.search(r"float32, at ([^;]* dB) on V after", answer("24_speed"))[1]
    return [
        f"On two cores of an {where['processor']} a step on the weights is {spread(ours['W'], '.1f')} times",
        f"one on the alphas {spread(ours['A'], '.1f')} times",
        f"single shapes lie in {single[0]} and {single[1]}",
        f"in {spread(memory, '.0f')} % of its memory",
        f"would take {float(projected['hours']):.1f} h",
        f"(published: {projected['published (GPU h)']} GPU hour)",
        f"needs {unshared[0]} times the memory for denoising and {unshared[1]} for super-resolution; the paper says 3",
        f"a search step on the weights is {halved['search, W']}, one on the alphas {halved['search, A']}, a "
        f"training step {halved['training']} times as fast, at {change}",
    ]


AUDIT = "23_protocol_audit__"
NETS = ("HiNAS", "DnCNN-35")
OLDER = ("fd685d30", "84c311c5")  # evaluations of a DnCNN-35 and of the network of revision 1, by hash
LEAD, HINAS = "SSIM - HiNAS's", "HiNAS"
COLUMNS = ((0, "found"), (0, "random"), (1, "random"))
COMPARED = ("20_denoising_comparison", "21_super_resolution_comparison")
SEARCHED = ("03_search_denoising", "04_search_super_resolution")


def test_every_number_of_what_was_found_is_that_of_the_tables():
    left = FOUND
    for words in (
        *of_the_shipped_denoiser(),
        *of_equal_time(),
        *of_the_searches(),
        *of_stability(),
        *of_chance(),
        *of_latency(),
        *of_three_hours(),
        *of_widths(),
        *of_the_loss(),
        *of_perturbations(),
        *of_sharing(),
        *of_before(),
        *of_speed(),
    ):
        assert words in left, f"the tables say: {words}"
        left = left.replace(words, "", 1)
    left = re.sub(SETTINGS, "", left)
    # What is told in words, or of table 10: "three rows".
    assert not re.search(r"\d", left.replace("table 10", "")), f"no table holds: {left}"


def test_the_readme_says_in_short_what_the_findings_do():
    """Every row of its table has the numbers, with their intervals, of the finding that names the same notebook."""
    findings = FOUND.split(" - **")
    rows = re.findall(r"^\|(.+)\| \[(`\d\d`|card)\]\(\S+\) \|$", TEXT, re.M)
    assert len(rows) > 10
    for cells, where in rows:
        said = re.findall(r"[+-]?\d[\d,]*(?:\.\d+)?(?: \[.*?\])?", re.sub(SETTINGS, "", cells))
        told = [[re.search(rf"(?<![\d.]){re.escape(one)}(?!\d)", text) for one in said] for text in findings]
        assert any(where in text and all(found) for text, found in zip(findings, told)), f"not of {where}: {said}"


def test_the_readme_counts_verdicts_as_the_scorecard_does():
    supported = [row["metric"] for row in table("00_scorecard__verdicts", verdict="supports")]
    assert "PSNR (dB)" not in supported
    scored = supported.count("SSIM")
    counts = re.search(r"(\d+ differences).* (support .*) undecided .* (speak to .*)\.$", answer("00_scorecard"))
    differences, theirs, ours = (re.sub(r" \(.*", "", words) for words in counts.groups())
    ours = ours.replace(
        "supported,", f"supported ({len(supported) - scored} on size, time or memory, {scored} on SSIM),"
    )
    assert f"in {differences}, these Runs {ours}; the paper's own numbers" in README
    assert f"{theirs} undecided ([`00`]" in README


def test_the_caption_of_the_picture_is_the_answer_of_its_notebook():
    gained = re.search(r"goes (from [\d.]+ to [\d.]+ dB)", answer("07_your_own_pictures"))[1]
    assert f"comes with the package: {gained} (notebook `07`)" in README


def test_shares_of_a_step_are_those_of_the_table():
    told = " ".join((ROOT / "docs" / "speed.md").read_text().split())
    shares = []
    for part in ("depthwise convolutions", "batch norms' sums"):
        ours, plain = [
            numbers("24_speed__parts", "seconds an image", way=f"{way}, batch 2", phase="W", part=part)[0]
            for way in ("ours", "plain")
        ]
        shares.append(f"{ours / plain:.0%}".replace("%", " %"))
    said = f"depthwise convolutions take {shares[0]} and batch norms' sums {shares[1]} of the plain supernet's seconds"
    assert said in told


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
