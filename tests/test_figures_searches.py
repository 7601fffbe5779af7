"""Searches over their epochs, and two rankings of the same architectures."""

import pandas as pd

from hinas_nb import figures


def searches() -> pd.DataFrame:
    rows = []
    for arm in ("plain", "decayed"):
        for seed in range(2):
            for epoch in range(1, 7):
                scored = epoch > 3
                score = 20.0 + epoch if scored else None
                row = {"arm": arm, "seed": seed, "epoch": epoch, "validation_psnr": score, "best": scored and epoch < 6}
                rows.append(row | {"skip_count": epoch, "op_margin": 0.01 * epoch, "entropy_lost": 0.1})
    return pd.DataFrame(rows)


def test_every_search_is_a_line_with_a_star_at_the_picked_epoch():
    figure = figures.searches_plot(searches(), 2, 4.5, "claim")
    for panel in figure.axes:
        marks = [line for line in panel.lines if line.get_gid() == "picked"]
        assert [line.get_xdata().tolist() for line in marks] == [[5]] * 4
        assert len([line for line in panel.lines if len(line.get_xdata()) == 6]) == 4
    chance = [line for panel in figure.axes for line in panel.lines if line.get_gid() == "chance"]
    assert [line.get_ydata()[0] for line in chance] == [4.5]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["plain", "decayed", "weights only", "at most by chance", "picked by the early stop"]


def test_every_architecture_is_a_named_dot_in_every_panel():
    rows = [
        {"supernet": name, "architecture": index, "shared": index, "alone": 3.0 - index}
        for name in ("searched", "random")
        for index in range(4)
    ]
    figure = figures.ranking_plot(pd.DataFrame(rows), words={"random": "tau -1"})
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["searched", "random\ntau -1"]
    for panel in figure.axes:
        assert sorted(text.get_text() for text in panel.texts) == ["0", "1", "2", "3"]
        assert panel.collections[0].get_offsets().tolist() == [[i, 3 - i] for i in range(4)]


def test_every_recipe_is_a_line_of_means_over_its_seeds():
    rows = searches()
    figure = figures.recipes_plot(rows, 4.5, "claim")
    skips, scores = figure.axes
    assert [line.get_ydata().tolist() for line in skips.lines[:2]] == [[1, 2, 3, 4, 5, 6]] * 2
    assert skips.lines[2].get_ydata()[0] == 4.5
    assert [len(line.get_xdata()) for line in scores.lines] == [6, 6]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["plain", "decayed", "at most by chance"]
