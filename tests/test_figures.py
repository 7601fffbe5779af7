"""Figures show what their data says: counted in the drawing itself, not compared with stored pictures."""

import io
import itertools
import os
import re
import shutil
import sysconfig
from collections import Counter
from math import log

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from hinas_nb import figures
from hinas_nb.figures import dot
from hinas_nb.figures.axes import edge_names, log_ticks, name_points
from hinas_nb.figures.style import ACCENT, CHANGED, Picture
from hinas_nb.method.genotype import OPERATIONS, Genotype, edges, random_genotype, width_paths

PURE = shutil.which("graphviz-pure", path=sysconfig.get_path("scripts"))
REAL = shutil.which("dot")
BETAS = [
    {(0, 0): 0.6, (0, 1): 0.4},
    {(0, 0): 0.3, (0, 1): 0.7, (1, 0): 0.25, (1, 1): 0.35, (1, 2): 0.4},
    [[0, 0, 0.5], [0, 1, 0.5], [1, 0, 0.2], [1, 1, 0.3], [1, 2, 0.5], [2, 1, 0.1], [2, 2, 0.9]],
]


@pytest.fixture(params=["graphviz-pure", "dot"])
def engine(request, monkeypatch, tmp_path):
    """Only this engine can be found."""
    program = {"graphviz-pure": PURE, "dot": REAL}[request.param]
    if program is None:
        pytest.skip(f"{request.param} isn't installed")
    if request.param == "graphviz-pure":
        monkeypatch.setenv("PATH", str(tmp_path))
    return request.param


def genotypes(count: int = 6, layers: int = 3, nodes: int = 4):
    generator = torch.Generator().manual_seed(7)
    return [random_genotype(layers, nodes, generator) for _ in range(count)]


def texts(svg: bytes) -> list[str]:
    """The text of an SVG file, in reading order of the file."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())
    return [text.replace("&#160;", " ").replace("&#45;", "-").strip() for text in found]


# Graphs


def test_genotype_graph_holds_every_operation_as_often_as_edges_do(engine):
    for genotype in genotypes(3):
        shown = Counter(text for text in texts(figures.genotype_graph(genotype).svg()) if text in OPERATIONS)
        assert shown == Counter(op for cell in genotype.cells for node in cell for op, _ in node)


def test_genotype_graph_draws_every_input_as_an_edge_of_the_same_source():
    (genotype,) = genotypes(1)
    drawn = re.findall(r"L(\d)(h[12]|n\d)(?::o)?:e -> L\1n(\d):s(\d):w", figures.genotype_graph(genotype).source)
    sources = ["h1", "h2", "n0", "n1", "n2", "n3"]
    expected = {
        (str(layer), sources[source], str(node), str(slot))
        for layer, cell in enumerate(genotype.cells, 1)
        for node, inputs in enumerate(cell)
        for slot, (_, source) in enumerate(inputs)
    }
    assert set(drawn) == expected and len(drawn) == len(expected)


def test_genotype_graph_stacks_the_layers_in_order(engine):
    for genotype in [*genotypes(4), *genotypes(3, layers=2, nodes=3), *genotypes(1, layers=5, nodes=5)]:
        svg = figures.genotype_graph(genotype).svg().decode()
        heights = [float(y) for y in re.findall(r'<text[^>]*y="(-?[\d.]+)"[^>]*>Layer \d', svg)]
        assert len(heights) == len(genotype.levels) and heights == sorted(heights)


def test_genotype_graph_writes_the_widths_and_where_inputs_come_from():
    genotype = Genotype((0, 1, 2), genotypes(1)[0].cells)
    shown = " ".join(texts(figures.genotype_graph(genotype, "A claim & more", base_width=20).svg()))
    for words in (
        "level 1, 30 channels per node",
        "4 x 40 = 160",
        "1x1: 80 → 30",
        "1x1: 64 → 20",
        "with layer 1",
    ):
        assert words in shown
    assert "A claim &amp; more" in shown
    assert "with stem 2" in " ".join(texts(figures.genotype_graph(Genotype((1, 1, 0), genotype.cells)).svg()))


def test_changed_inputs_are_marked_and_nothing_else():
    (before,) = genotypes(1)
    plain = figures.genotype_graph(before, before=before)
    assert CHANGED not in plain.source and "changed" not in plain.source
    cells = [[list(node) for node in cell] for cell in before.cells]
    operation, source = cells[1][2][0]
    cells[1][2][0] = ("conv_5" if operation != "conv_5" else "skip", source)
    after = Genotype(before.levels, cells)
    marked = figures.genotype_graph(after, before=before)
    lines = [line for line in marked.source.splitlines() if "->" in line and CHANGED in line]
    assert len(lines) == 1 and "L2n2:s0:w" in lines[0]


def test_super_cell_graph_bundles_all_candidates_of_all_edges(engine):
    graph = figures.super_cell_graph(4, OPERATIONS, "All candidates")
    colours = ":".join(figures.OPERATION_COLOURS[name] for name in OPERATIONS)
    assert graph.source.count(colours) == len(edge_names(14)) == 14
    assert set(OPERATIONS) <= set(texts(graph.svg()))


def test_both_engines_give_svg_and_png(engine):
    graph = figures.genotype_graph(genotypes(1)[0])
    assert graph.svg().startswith(b"<svg") and graph._repr_svg_().startswith("<svg")
    width, height = Image.open(io.BytesIO(graph.png())).size
    assert 700 < width < 2200 and 500 < height < 2200


def test_a_real_dot_goes_before_graphviz_pure(monkeypatch, tmp_path):
    fake = tmp_path / "dot"
    fake.write_text("#!/bin/sh\necho 'syntax error in line 1' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert dot._find_dot() == str(fake)
    with pytest.raises(ValueError, match=r"^dot must draw the graph, got syntax error in line 1$"):
        figures.super_cell_graph(3, OPERATIONS).svg()


def test_a_dot_that_draws_nothing_is_refused(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho no drawing\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"^dot must draw the graph, got no drawing$"):
        figures.Graph("digraph {}").svg()


def test_missing_dot_is_said_where_the_graph_is_made(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dot.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=r"^graphs need a program `dot`, got none .*pip install") as raised:
        figures.genotype_graph(genotypes(1)[0])
    assert "\n" not in str(raised.value)


# Widths


def lines_of(figure: Picture) -> dict[tuple[int, ...], matplotlib.lines.Line2D]:
    lines = [line for line in figure.axes[0].lines if (line.get_gid() or "").startswith("move")]
    return {tuple(int(part) for part in line.get_gid().split()[1:]): line for line in lines}


@pytest.mark.parametrize("path", width_paths(3))
def test_trellis_highlights_the_decoded_path_and_only_it(path):
    figure = figures.width_trellis(BETAS, path, (10, 15, 20))
    highlighted = {move for move, line in lines_of(figure).items() if line.get_color() == ACCENT}
    assert highlighted == set(zip((1, 2, 3), (0, *path), path))
    boxes = [patch.get_gid().split() for patch in figure.axes[0].patches if patch.get_gid().endswith("path")]
    assert [(int(layer), int(level)) for _, layer, level, _ in boxes] == list(enumerate(path, 1))


def test_trellis_lines_thicken_with_beta_and_print_it():
    figure = figures.width_trellis(BETAS, (0, 1, 2), (10, 15, 20))
    lines = lines_of(figure)
    betas = {(1, 0, 0): 0.6, (2, 0, 1): 0.7, (2, 1, 0): 0.25, (3, 2, 1): 0.1, (3, 2, 2): 0.9}
    ordered = sorted(betas, key=betas.get)
    widths = [lines[move].get_linewidth() for move in ordered]
    assert widths == sorted(widths) and len(set(widths)) == len(widths)
    assert len(lines) == 14
    printed = [text.get_text() for text in figure.axes[0].texts]
    assert {"0.60", "0.25", "0.90", "stem", "10", "15", "20"} <= set(printed)


@pytest.mark.parametrize("layers, shared, unshared", [(3, 8, 14), (2, 5, 7)])
def test_sharing_diagram_counts_the_cells_of_both_spaces(layers, shared, unshared):
    for on, cells in ((True, shared), (False, unshared)):
        figure = figures.sharing_diagram(on, layers)
        assert len(figure.axes[0].patches) - 1 == cells  # the stem is no cell
        assert figure.get_suptitle() == f"{cells} cells"


# Evolution


def records(epochs: int = 8, validate_from: int = 4) -> list[dict]:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 9, 7))
    rows, best = [], -1.0
    for epoch in range(1, epochs + 1):
        weights = np.exp(logits * epoch / epochs)
        psnr = 25 + generator.normal() if epoch > validate_from else None
        improved = psnr is not None and psnr > best
        best = psnr if improved else best
        rows.append(
            {
                "epoch": epoch, "weight_loss": 1 / epoch,
                "architecture_loss": None if epoch < 3 else 1.1 / epoch,
                "validation_psnr": psnr, "validation_ssim": psnr and psnr / 40, "best": improved,
                "op_entropy": 1.9, "width_entropy": 0.7, "op_margin": 0.1, "op_margin_min": 0.01,
                "width_margin": 0.2, "operation_counts": {"conv_3": 10 - epoch, "skip": 2 + epoch},
                "skip_count": 2 + epoch, "op_weights": (weights / weights.sum(-1, keepdims=True)).tolist(),
                "width_weights": [[[a, b, w] for (a, b), w in layer.items()] for layer in BETAS[:2]],
            }
        )  # fmt: skip
    return rows


def test_search_curves_mark_the_epoch_that_was_picked():
    table = pd.DataFrame(records())
    picked = table.loc[table["validation_psnr"].astype(float).idxmax()]
    figure = figures.search_curves(table, warmup_epochs=2, validate_from=4, title="A claim")
    stars = [line.get_xydata()[0] for axes in figure.axes for line in axes.lines if line.get_gid() == "kept"]
    assert np.allclose(stars, [(picked.epoch, picked.validation_psnr), (picked.epoch, picked.validation_ssim)])
    shaded = [patch for axes in figure.axes for patch in axes.patches if patch.get_gid() == "warm-up"]
    assert len(shaded) == len(figure.axes) == 8
    assert all(np.isclose(patch.get_x() + patch.get_width(), 2.5) for patch in shaded)


def test_search_curves_of_one_unscored_epoch_and_of_none():
    figure = figures.search_curves(records(1))
    assert sum(text.get_text() == "not scored on V" for text in figure.findobj(Text)) == 2
    assert figure.png()


def test_alphas_are_drawn_as_recorded():
    rows = records()
    figure = figures.op_weight_evolution(rows, 2, 5, OPERATIONS)
    assert figure.get_suptitle() == "Layer 2: layer l-1 → node 2"
    lines = {line.get_label().split()[0]: line.get_ydata() for line in figure.axes[0].lines}
    for index, name in enumerate(OPERATIONS):
        assert np.allclose(lines[name], [row["op_weights"][1][5][index] for row in rows])


def test_betas_are_drawn_one_line_per_move():
    figure = figures.width_weight_evolution(records())
    assert [len(axes.lines) for axes in figure.axes] == [2, 5]


def test_heatmap_frames_what_was_decoded():
    (genotype,) = genotypes(1, 2, 3)
    figure = figures.op_weight_heatmap(records()[-1]["op_weights"], OPERATIONS, genotype)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == edge_names(9)
    assert [name.endswith(f"node {node}") for name, (node, _) in zip(names, edges(3))] == [True] * 9
    for axes, cell in zip(figure.axes, genotype.cells):
        framed = {patch.get_xy() for patch in axes.patches if patch.get_gid() == "decoded"}
        assert framed == {
            (OPERATIONS.index(op), edges(3).index((node, source)))
            for node, inputs in enumerate(cell)
            for op, source in inputs
        }


def test_entropy_panel_shows_equal_alphas():
    axes = figures.search_curves(records()).axes[4]
    assert any(np.allclose(line.get_ydata(), log(7)) for line in axes.lines)


# Images


def test_image_panel_crops_every_image_equally():
    images = [np.random.default_rng(seed).random((40, 60)) for seed in range(3)]
    figure = figures.image_panel(list(zip("abc", images)), (5, 10, 16, 24), ["20 dB", "30 dB", ""])
    whole, *crops = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(whole, images[-1])
    for crop, image in zip(crops, images):
        assert np.array_equal(crop, image[5:21, 10:34])
    (box,) = figure.axes[0].patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (9.5, 4.5, 24, 16)
    assert [axes.get_title() for axes in figure.axes] == ["c", "a\n20 dB", "b\n30 dB", "c"]
    sizes = {tuple(np.round(axes.get_window_extent().size)) for axes in figure.axes[1:]}
    assert figure.png() and len(sizes) == 1


def test_image_panel_takes_what_networks_give_and_clips_it():
    noisy = torch.randn(1, 3, 32, 48) * 3
    figure = figures.image_panel([("tensor", noisy), ("array", noisy[0].permute(1, 2, 0).numpy())])
    first, second = [axes.images[0].get_array() for axes in figure.axes]
    assert first.shape == (32, 48, 3) and np.array_equal(first, second)
    assert first.min() == 0 and first.max() == 1


def test_image_panel_refuses_what_is_no_image():
    with pytest.raises(ValueError, match=r"H x W or H x W x 3, got 2 x 20 x 30 for a"):
        figures.image_panel([("a", np.zeros((2, 20, 30)))])


# Comparisons


def test_score_pairs_join_the_scores_of_one_image():
    scores = pd.DataFrame(
        [("b", "input", 14.0), ("a", "input", 15.0), ("a", "restored", 27.0), ("b", "restored", 29.0)],
        columns=["image", "model", "psnr"],
    )
    axes, _ = figures.score_pairs(scores.assign(ssim=0.5)).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    drawn = {dots.get_gid(): dots.get_ydata().tolist() for dots in axes.lines}
    assert drawn == {"arm input": [15.0, 14.0], "arm restored": [27.0, 29.0]}


def test_effects_show_ours_beside_the_published():
    table = pd.DataFrame(
        {"arm": ["basic", "LWAS"], "difference": [26.0, 26.1], "low": [25.9, 26.0], "high": [26.1, 26.2],
         "published": [26.77, np.nan], "group": "sigma 50"}
    )  # fmt: skip
    figure = figures.effect_plot(table, "PSNR (dB)", title="LWAS helps")
    _, ours, published = figure.axes[0].lines
    assert ours.get_xdata().tolist() == [26.0, 26.1] and published.get_xdata()[0] == 26.77
    assert ours.get_marker() != published.get_marker()
    assert figure.axes[0].get_title(loc="left") == "sigma 50"


def test_labels_of_equal_points_move_apart():
    figure = Picture(4, 3)
    axes = figure.add_subplot()
    axes.scatter([1, 1], [1, 1], s=[80, 80])
    name_points(axes, [1, 1], [1, 1], ["one", "other"], 80, {"other"})
    figure.draw_without_rendering()
    one, other = (Text.get_window_extent(text) for text in axes.texts)
    assert not one.overlaps(other)


@pytest.mark.parametrize("width", [4, 7, 11])
def test_a_long_title_is_broken_before_the_figure_ends(width):
    figure = Picture(width, 3, "Every claim is longer than it has to be; " * 6)
    figure.add_subplot()
    figure.draw_without_rendering()
    (title,) = [text for text in figure.findobj(Text) if text.get_text().startswith("Every claim")]
    assert title.get_window_extent().x1 < figure.bbox.x1


@pytest.mark.parametrize("high", [1.5, 4, 30, 2e3, 1e6])
def test_ticks_of_a_logarithmic_axis_are_plain_and_apart(high):
    figure = Picture(4, 3)
    axes = figure.add_subplot(xscale="log", xlim=(1, high))
    log_ticks(axes, "x")
    figure.draw_without_rendering()
    labels = [label for label in axes.get_xticklabels() if label.get_window_extent().width > 1]
    shown = [label for label in labels if 1 <= float(label.get_text().replace(",", "")) <= high]
    boxes = [label.get_window_extent() for label in shown]
    assert len(shown) > 1 and not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


# Showing and saving


def test_notebooks_show_pictures_without_pyplot():
    content, metadata = figures.sharing_diagram(True)._repr_mimebundle_()
    assert set(content) == {"image/png", "text/plain"}
    assert 300 < metadata["image/png"]["width"] < 1000


def test_drawing_leaves_no_global_state_and_equal_figures_are_equal_files():
    before = dict(matplotlib.rcParams)
    first, second = (figures.sharing_diagram(False).svg() for _ in range(2))
    assert first == second
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("kind", ["picture", "graph"])
def test_save_writes_both_files_whole(tmp_path, kind):
    figure = figures.sharing_diagram(True) if kind == "picture" else figures.super_cell_graph(3, OPERATIONS)
    svg, png = figures.save(figure, tmp_path / "new" / "figure_x1.5")
    assert (svg.name, png.name) == ("figure_x1.5.svg", "figure_x1.5.png")
    assert svg.read_bytes().rstrip().endswith(b"</svg>")
    Image.open(png).verify()
    assert len(list(svg.parent.iterdir())) == 2


def test_save_that_fails_leaves_the_old_files_and_no_others(tmp_path, monkeypatch):
    for suffix in ("svg", "png"):
        (tmp_path / f"old.{suffix}").write_text("old")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"^cannot write .*old.svg: No space left on device; "):
            figures.save(figures.sharing_diagram(True), tmp_path / "old")
    graph = figures.super_cell_graph(3, OPERATIONS)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(dot.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match="graphs need a program `dot`"):
        figures.save(graph, tmp_path / "old")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "old.svg": "old",
        "old.png": "old",
    }


# Names of a user's files

NAMES = [r"$\input{x}$ & 100%", "$", "a_1$b^{", "<b>&amp;"]


def named_figures():
    """Figures that print a user's names, each with what it must print."""
    scores = pd.DataFrame(
        {"image": name, "model": model, "psnr": 20.0 + place, "ssim": 0.5}
        for place, name in enumerate(NAMES)
        for model in ("input", NAMES[0])
    )
    panel = [(name, np.zeros((8, 8))) for name in NAMES]
    yield figures.image_panel(panel, (0, 0, 4, 4), NAMES, NAMES[0]), {f"{name}\n{name}" for name in NAMES}
    yield figures.score_pairs(scores, title=NAMES[1]), {*NAMES}
    effects = pd.DataFrame({"arm": NAMES, "difference": 1.0, "low": 0.0, "high": 2.0, "group": NAMES[0]})
    yield figures.effect_plot(effects, NAMES[2], title=NAMES[0]), {*NAMES}
    curves = pd.DataFrame({"panel": NAMES[0], "series": NAMES[1], "x": [1, 2], "value": [1, 4]})
    yield figures.growth_curves(curves, NAMES[2], NAMES[3]), {NAMES[0], NAMES[2]}


def test_names_are_printed_as_they_are_never_as_formulas():
    for figure, names in named_figures():
        assert figure.png().startswith(b"\x89PNG") and b"</svg>" in figure.svg()
        printed = figure.findobj(Text)
        assert not any(text.get_parse_math() for text in printed)
        assert names <= {text.get_text() for text in printed}


def test_ticks_of_logarithmic_axes_are_no_formulas():
    steps = [{"step": step, "loss": 10.0**-step, "lr": 0.1, "validation_psnr": 20, "validation_ssim": 0.5, "best": True}
             for step in range(1, 6)]  # fmt: skip
    curves = pd.DataFrame({"panel": "p", "series": "s", "x": [1, 1e6], "value": [1, 1e6]})
    for figure in (figures.training_curves(steps), figures.growth_curves(curves, "y")):
        figure.png()
        printed = [text.get_text() for text in figure.findobj(Text)]
        assert any(text for text in printed) and not any("$" in text for text in printed)
