"""The static site, for whoever only looks (`make site`): a front page, the committed executed notebooks, the reference.

All of it is made of what is committed, loads nothing and needs no server. Notebooks are rendered by nbconvert, as the
report's are; the reference by pdoc, which reads the docstrings.
"""

import pkgutil
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from skimage.metrics import peak_signal_noise_ratio

from hinas_nb import data, figures, files, locations
from hinas_nb.evidence import claims
from hinas_nb.experiment.profile import load_profile
from hinas_nb.reporting import pages, report
from hinas_nb.reporting.wipe import wipe
from hinas_nb.running import notes
from hinas_nb.use import networks, restore

PHOTOGRAPH, SIGMA = "chelsea", 50.0  # of the embedded test photographs; noise in grey levels (0-255)
TRADE_OFF = ("22_trade_off", "time-denoise")
BACK = """<p style="margin: .8rem 1rem; font: 15px sans-serif">
<a style="color: #a3127f" href="../index.html">HiNAS, the front page</a></p>"""


def write(target: Path, budget: str = report.COMMITTED) -> Path:
    """Write the site into an empty or new folder, from the results of a budget; returns its front page.

    Raises ValueError, RestoreError, StoreError, OSError, and ModuleNotFoundError without pdoc.
    """
    folder = locations.results() / budget
    names = [path.stem for path in sorted((folder / "executed").glob("*.ipynb"))]
    for name in names:
        page = pages.html(nbformat.read(folder / "executed" / f"{name}.ipynb", as_version=4), name)
        page = re.sub(r"<body[^>]*>", lambda found: found[0] + BACK, page, count=1)
        files.write_atomic(target / "notebooks" / f"{name}.html", page.encode())
    _reference(target / "api")
    notebooks = sorted((locations.home() / "notebooks").glob("*.ipynb"))
    page = report.template("site.html").render(
        wipe=_wiped(),
        found=_architecture(target),
        trade_off=_figure(folder, target, TRADE_OFF),
        **_verdicts(budget),
        notebooks=[_notebook(folder, path.stem, path.stem in names) for path in notebooks],
        budget=budget,
    )
    files.write_atomic(target / "index.html", page.encode())
    return target / "index.html"


def _reference(target: Path) -> None:
    import pdoc  # ty: ignore[import-not-found]

    import hinas_nb

    for name in ("restore", "pretrained"):  # imported when asked for; pdoc shows only what is there
        setattr(hinas_nb, name, getattr(hinas_nb, name))
    pdoc.render.configure(template_directory=Path(__file__).parent / "reference")
    parts = (f"hinas_nb.{part.name}" for part in pkgutil.iter_modules(hinas_nb.__path__) if part.name != "__main__")
    pdoc.pdoc("hinas_nb", *parts, output_directory=target)


def _wiped() -> dict[str, str]:
    """Restore a noisy photograph by the network that anybody gets; return the wipe and what is to be said of it."""
    photos, said = data.load("photos", "test"), []
    clean = photos.images[photos.names.index(PHOTOGRAPH)].permute(1, 2, 0).numpy() / 255
    noise = np.random.default_rng(0).normal(0, SIGMA / 255, clean.shape)
    noisy = (clean + noise).clip(0, 1).astype(np.float32)
    restored = restore.restore(noisy, sigma=SIGMA, tell=said.append)
    before, after = (peak_signal_noise_ratio(clean, image, data_range=1) for image in (noisy, restored))
    gain = f"{before:.1f} dB, restored: {after:.1f} dB, over all channels"
    told = f"{PHOTOGRAPH} with noise of sigma {SIGMA:g}: {gain}; {'; '.join(said)}"
    return {"html": wipe(noisy, restored, ("noisy", "restored")), "said": told}


def _architecture(target: Path) -> dict[str, Any]:
    """Draw the architecture of the network that restores the photograph."""
    network = networks.pretrained("denoise")
    graph = figures.genotype_graph(network.genotype, "The network at work", base_width=network.base_width)
    figures.save(graph, target / "figures" / "architecture")
    paths = {kind: f"figures/architecture.{kind}" for kind in ("svg", "png")}
    caption = "What the search found: the cells of the network that restores this photograph, and its width"
    return report.drawing(target, paths, caption)


def _figure(folder: Path, target: Path, name: tuple[str, str]) -> dict[str, Any] | None:
    """Copy a published figure into the site; None where there is none."""
    shown = report.shown(folder, *name)
    for path in shown["files"].values() if shown else ():
        files.write_atomic(target / path, (folder / path).read_bytes())
    return shown


def _verdicts(budget: str) -> dict[str, Any]:
    """Count the verdicts on the paper's evidence and on ours: of all `claims`, each by itself, and in all."""
    profile = load_profile(budget)
    numbers = claims.judge(claims.gathered(profile)[0], profile)
    kinds = {"On the paper's own numbers": "published_verdict", f"Computed here, {budget} budget": "verdict"}
    one_by_one = [
        {column: rows[column].iloc[0] for column in ("says", "place")}
        | {column: report.tally(rows[column]) for column in kinds.values()}
        for _, rows in numbers.groupby("name", sort=False)
    ]
    in_all = [(whose, report.tally(numbers[column])) for whose, column in kinds.items()]
    return {"claims": one_by_one, "verdicts": in_all}


def _notebook(folder: Path, name: str, executed: bool) -> dict[str, Any]:
    answer = report.answer_of(folder, name)
    source = nbformat.read(locations.home() / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source
    question = re.search(r"\*\*Question\.\*\*(.*?)\n\s*\n", source, re.DOTALL)
    return {
        "title": name.replace("_", " "),
        "page": f"notebooks/{name}.html" if executed else "",
        "question": " ".join(question[1].split()) if question else "",
        "answer": answer.answer,
        "outdated": notes.outdated(answer.revisions) if answer.answer else "",
    }


if __name__ == "__main__":
    where = locations.home() / "site"
    shutil.rmtree(where, ignore_errors=True)
    try:
        print(f"Open in a browser: {write(where)}")
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: {sys.executable} -m pip install {error.name}")
