"""Finished Runs that nothing computed: for tests of what is read from a store."""

from hinas_nb import claims


def finish(budget, config, text="", records=(), genotype=None):
    """A finished Run in the store, made up."""
    folder = budget.store().folder(config)
    folder.begin("cpu", 1)
    folder.append_records(list(records))
    folder.write_text("scores.csv", text)
    if genotype:
        folder.write_text("genotype.json", genotype.to_json())
    folder.finish({})


def score(budget, question: claims.Question, effect: float, spread: float = 0.01, seeds: list[int] | None = None):
    """Score both arms with PSNR = SSIM: the control 20 and something, the treatment `effect` more."""
    for treatment, side in zip((True, False), claims.arms(question, budget)):
        for run in side:
            seed = run.labels["seed"]
            if seeds is not None and seed not in seeds:
                continue
            value = 20 + seed + treatment * (effect + spread * (seed - 1))
            rows = [f"{image},{value + step},{value + step},8,8,0.1" for step, image in enumerate("ab")]
            finish(budget, run.config, "\n".join(["image,psnr,ssim,height,width,seconds", *rows]))
