"""The training curves: one mark, at the validation whose weights were kept."""

from hinas_nb import figures


def records() -> list[dict]:
    scores = [(20.0, 0.5, True), (24.0, 0.7, True), (23.0, 0.6, False)]
    return [
        {"step": 10 * n, "loss": 1 / n, "lr": 0.1 / n, "validation_psnr": p, "validation_ssim": s, "best": b}
        for n, (p, s, b) in enumerate(scores, 1)
    ]


def test_the_kept_validation_is_marked_in_every_panel():
    axes = figures.training_curves(records(), "claim").axes
    marks = [line for panel in axes for line in panel.lines if line.get_gid() == "kept"]
    assert [line.get_xdata().tolist() for line in marks] == [[20]] * 4
    assert axes[2].get_title(loc="left") == "PSNR on V: 24.00 at step 20"
