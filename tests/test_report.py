"""The report page: everything published is on it, nothing else, and nothing is loaded from elsewhere."""

import json
import re

import pandas as pd
import pytest
import torch
from made_up_runs import noted

from hinas_nb import __main__, files
from hinas_nb.experiment.runs import REVISIONS
from hinas_nb.figures import Picture
from hinas_nb.reporting import report
from hinas_nb.reporting.outputs import Publisher
from hinas_nb.running.store import Store

NOTEBOOK = "05_train_and_restore"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("HINAS_CHANGED", raising=False)
    monkeypatch.setenv("HINAS_PUBLISH", str(tmp_path / "laptop"))  # as the batch does, but at once
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    return tmp_path / "laptop"


def publish() -> Publisher:
    publisher = Publisher("laptop", NOTEBOOK)
    picture = Picture(2, 1)
    picture.subplots().plot([1, 2])
    assert publisher.figure(picture, "curve", "PSNR <rises> & stays") is picture
    table = pd.DataFrame(
        {
            "claim": ["LWAS helps", "a_b & c"],
            "effect (dB)": [0.123456789, -2],
            "verdict": ["supports", "undecided"],
        }
    )
    assert publisher.table(table, "verdicts", "Verdicts at 100 %") is table
    assert publisher.answer("Does it work?", "contradicts: by 0.3 dB.") == "contradicts: by 0.3 dB."
    return publisher


def test_what_is_published_is_on_the_page(folder):
    assert publish().provenance()["machine"]["cores"]
    files.write_atomic(folder / "html" / f"{NOTEBOOK}.html", b"<p>executed</p>")
    page = report.write(folder).read_text()
    image = (
        rf'<img src="figures/{NOTEBOOK}__curve.svg" alt="PSNR &lt;rises&gt; &amp; stays" width="1\d\d" height="\d\d"'
    )
    assert re.search(image, page)
    assert f'href="html/{NOTEBOOK}.html"' in page and f'href="tables/{NOTEBOOK}__verdicts.tex"' in page
    assert '<td class="n" title="0.123456789">0.1235</td>' in page and "<td>a_b &amp; c</td>" in page
    assert "Real numbers on 2 CPU cores" in page  # what the budget's file says of it
    assert '<span class="badge supports">supports</span>' in page
    assert '<span class="badge contradicts">contradicts</span>: by 0.3 dB.' in page
    assert "<dt>torch</dt>" in page and torch.__version__.split("+")[0] in page
    for address in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert (folder / address).is_file(), address
    assert "http" not in page and "<script" not in page and "@import" not in page


def test_files_of_a_published_table_and_figure(folder):
    publish()
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        f"answers/{NOTEBOOK}.json",
        f"figures/{NOTEBOOK}__curve.svg",
        f"figures/{NOTEBOOK}__curve.png",
        f"tables/{NOTEBOOK}__verdicts.csv",
        f"tables/{NOTEBOOK}__verdicts.tex",
    }
    assert "0.123456789" in (folder / "tables" / f"{NOTEBOOK}__verdicts.csv").read_text()
    latex = (folder / "tables" / f"{NOTEBOOK}__verdicts.tex").read_text()
    assert r"a\_b \& c" in latex and r"\caption{Verdicts at 100 \%}" in latex


def test_a_new_publisher_forgets_what_an_older_run_said(folder):
    publish()
    Publisher("laptop", NOTEBOOK).answer("Does it work?", "Yes.")
    page = report.write(folder).read_text()
    assert "<img" not in page and "Yes." in page and "by 0.3 dB" not in page


def test_the_batch_can_stage_what_is_published(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HINAS_PUBLISH", str(tmp_path / "staged"))
    publish()
    assert not folder.exists() and (tmp_path / "staged" / "answers").is_dir()


def test_what_is_run_by_hand_is_no_result_of_the_profile(folder, monkeypatch):
    """A cell may have been changed in any way."""
    publish()
    reference = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.delenv("HINAS_PUBLISH")
    Publisher("laptop", NOTEBOOK).answer("Does it work?", "Otherwise.")
    assert {path: path.read_bytes() for path in reference} == reference
    answer = json.loads((folder / "variants" / "by-hand" / "answers" / f"{NOTEBOOK}.json").read_text())
    assert (answer["answer"], answer["changed"]) == ("Otherwise.", "run by hand")


def test_a_variant_says_what_was_changed_and_stands_beside_the_reference(folder, monkeypatch):
    publish()
    variant = folder / "variants" / "every-1-abcdef"
    monkeypatch.setenv("HINAS_PUBLISH", str(variant))
    monkeypatch.setenv("HINAS_CHANGED", "every=1, name=<b>")
    Publisher("laptop", NOTEBOOK).answer("Does it work?", "Yes, on every image.")
    page, other = report.write(folder).read_text(), (variant / "index.html").read_text()
    assert f'href="variants/every-1-abcdef/index.html#{NOTEBOOK}"' in page
    for text in (page, other):
        assert "every=1, name=&lt;b&gt;" in text and "Yes, on every image." in text and "by 0.3 dB." in text
    assert "laptop budget" in page and "every-1-abcdef, a variant of the laptop budget" in other
    assert other.count(f'href="../../index.html#{NOTEBOOK}"') == 1
    assert page.count("<figure") == 1 and "<figure" not in other, "each page has its own figures"


def test_a_profile_may_have_variants_only(folder, monkeypatch):
    monkeypatch.setenv("HINAS_PUBLISH", str(folder / "variants" / "mine"))
    publish()
    assert "variants/mine/index.html#" in report.write(folder).read_text()


@pytest.mark.parametrize("name", ["", "a__b", "../a", "a b", "a_"])
def test_names_that_are_no_file_names_are_refused(folder, name, monkeypatch):
    monkeypatch.delenv("HINAS_PUBLISH")
    with pytest.raises(ValueError, match="a published name must be letters and digits joined by"):
        Publisher("laptop", name)
    with pytest.raises(ValueError, match="a published name must be letters and digits joined by"):
        Publisher("laptop", NOTEBOOK).table(pd.DataFrame(), name, "")


def test_a_broad_figure_takes_the_row(folder):
    publisher = Publisher("laptop", NOTEBOOK)
    for name, width in (("square", 2), ("panel", 6)):
        publisher.figure(Picture(width, 2), name, name)
    page = report.write(folder).read_text()
    assert re.findall(r'<figure( class="broad")?><a href="figures/\w+__(\w+)', page) == [
        ("", "square"),
        (' class="broad"', "panel"),
    ]


def test_numbers_stand_under_each_other_only_where_all_are_numbers(folder):
    table = pd.DataFrame({"count": ["12", "302,330"], "size": [3.32e26, 12345.6]})
    Publisher("laptop", NOTEBOOK).table(table, "sizes", "Sizes")
    page = report.write(folder).read_text()
    assert '<td title="12">12</td>' in page and "<td>302,330</td>" in page
    assert '<td class="n" title="3.32e+26">3.32e+26</td>' in page and ">12346</td>" in page


def test_a_failed_run_is_shown_as_such(folder):
    files.write_atomic(folder / "notebooks" / f"{NOTEBOOK}.failed.ipynb", b"{}")
    page = report.write(folder).read_text()
    assert "The last run failed" in page and f'href="notebooks/{NOTEBOOK}.failed.ipynb"' in page


def published(folder, notebook: str, **page) -> None:
    files.write_atomic(folder / "answers" / f"{notebook}.json", json.dumps(page).encode())


def test_of_smoke_it_says_what_works_and_what_laptop_found(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    smoke, laptop = tmp_path / "smoke", tmp_path / "results" / "laptop"
    for notebook in ("03_search_denoising", NOTEBOOK):
        published(smoke, notebook, question="Does it?", answer="-0.2 [-71.9, +71.5] dB")
    published(laptop, NOTEBOOK, answer="+0.3 [+0.2, +0.4] dB", revisions={"search": 1})
    files.write_atomic(smoke / "notebooks" / "03_search_denoising.failed.ipynb", b"{}")
    page = report.write(smoke).read_text()
    assert "71.9" not in page and "+0.3 [+0.2, +0.4] dB" in page and "As of search revision 1" in page
    assert "Not computed yet at the laptop budget" in page
    assert page.count('class="works">works') == page.count('class="failed">does not work') == 2


def test_verdicts_are_counted_but_not_those_of_smoke(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    table = "on the paper's evidence,verdict\nsupports,undecided\nsupports,contradicts\n"
    for name in ("laptop", "smoke"):
        published(tmp_path / name, NOTEBOOK, answer="Yes.")
        files.write_atomic(tmp_path / name / "tables" / "00_scorecard__verdicts.csv", table.encode())
    ours, smoke = (report.write(tmp_path / name).read_text() for name in ("laptop", "smoke"))
    for page in (ours, smoke):
        assert '<li class="supports"><b>2</b> supports</li>' in page
    assert '<li class="contradicts"><b>1</b> contradicts</li>' in ours and '<li class="contradicts">' not in smoke


def test_what_was_found_is_seen_first(folder):
    publisher = Publisher("laptop", NOTEBOOK)
    for name in ("curve", "panel-median"):
        publisher.figure(Picture(2, 1), name, name)
    page = report.write(folder).read_text()
    assert page.index("05_train_and_restore__panel-median.svg") < page.index("05_train_and_restore__curve.svg")
    assert page.index("__panel-median.svg") < page.index('id="notebooks"')


def test_runs_and_their_cost_are_listed(folder):
    publish()
    run = Store(folder / "runs").root / "train" / "0123456789abcdef"
    noted(run, what="train denoise sigma 50 seed 0", seconds=7201.0, revisions={"search": 1})
    damaged = run.with_name("fedcba9876543210")
    noted(damaged, seconds="abc")
    page = report.write(folder).read_text()
    assert "<b>2</b> Runs" in page and "<b>2.0 h</b> of computing" in page
    assert "0123456789abcdef" in page and "train denoise sigma 50 seed 0" in page
    assert "search revision 1 (now" in page, "a Run of before is marked"
    assert "seconds: Input should be a valid number" in page, "a damaged one is told, and counts nothing"
    noted(run.with_name("0000000000000000"), what="half a letter \ud800")
    assert "half a letter \\ud800" in report.write(folder).read_text()


def test_what_was_published_under_older_revisions_is_marked(folder):
    publish()
    assert 'class="outdated"' not in report.write(folder).read_text()
    path = folder / "answers" / f"{NOTEBOOK}.json"
    answer = json.loads(path.read_text())
    assert answer.pop("revisions") == REVISIONS
    for older in ({}, {"revisions": {"search": 1}}):
        path.write_text(json.dumps(answer | older))
        page = report.write(folder).read_text()
        assert page.count(f"As of search revision 1 (now {REVISIONS['search']})") == 2, (
            "on the card and beside the answer"
        )


def test_a_long_table_is_folded_and_cut(folder):
    Publisher("laptop", NOTEBOOK).table(pd.DataFrame({"image": range(1000)}), "scores", "Scores")
    page = report.write(folder).read_text()
    assert "(first 300 of 1000 rows)" in page and page.count("<tr>") == 301
    assert "<details><summary>Scores" in page


def test_nothing_to_report_is_one_line(folder, capsys):
    with pytest.raises(ValueError) as error:
        report.write(folder)
    line = f"{folder} must hold results to report, got none: hinas-nb run all --profile laptop"
    assert str(error.value) == line
    assert __main__.main(["report", "--profile", "laptop"]) == 2
    assert capsys.readouterr().err == f"hinas-nb: {line}\n"


def test_a_damaged_answer_is_one_line(folder):
    path = folder / "answers" / f"{NOTEBOOK}.json"
    for content in (b"{", b"3"):
        files.write_atomic(path, content)
        with pytest.raises(ValueError) as error:
            report.write(folder)
        assert str(error.value) == f"{path} must be what a notebook published; run {NOTEBOOK} again"


@pytest.mark.parametrize(
    "content",
    ['{"figures": 3}', '{"figures": {"a": 3}}', '{"answer": null}', '{"provenance": {"x": 1}}', "[[1, 2, 3]]"],
)
def test_an_answer_of_another_shape_is_one_line(folder, content):
    files.write_atomic(folder / "answers" / f"{NOTEBOOK}.json", content.encode())
    with pytest.raises(ValueError, match="must be what a notebook published; run 05_train_and_restore again"):
        report.write(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\n" + b"x" * 200_000])
def test_a_damaged_table_is_one_line(folder, content):
    publish()
    path = folder / "tables" / f"{NOTEBOOK}__verdicts.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} must be a table that a notebook published, got "):
        report.write(folder)
