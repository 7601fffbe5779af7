"""`collect` in a script as one writes it, without `if __name__ == "__main__"`: from a file, by `-c`, piped in."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from hinas_nb.experiment.config import Arm, EvaluateConfig, TimingConfig
from hinas_nb.scoring.protocol import get
from hinas_nb.experiment.runs import Run, grid
from hinas_nb.running.collect import collect
from hinas_nb.running.store import Store

print("the script begins")
store = Store(sys.argv[-1])
base = EvaluateConfig(model="input", data="photos", protocol=get("denoise-standard"), every=4)
for workers, sigmas in {1: [10], 2: [20, 30]}.items():
    scores = collect(grid(base, sigma=sigmas), store, workers=workers, progress=False)
    print(workers, scores.groupby("sigma").psnr.count().gt(0).to_dict())
product = Arm(label="product", subject="matrix product", height=32, width_px=32)
print(len(collect([Run(TimingConfig(what="a product", arms=(product,), threads=1, rounds=1))], store)), "round")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "-c", "stdin"])
def test_a_plain_script_collects(tmp_path, way):
    script = tmp_path / "experiment.py"
    script.write_text(SCRIPT)
    start = {"file": [str(script)], "-c": ["-c", SCRIPT], "stdin": ["-"]}[way]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, *start, str(tmp_path / "runs")],
        input=SCRIPT if way == "stdin" else "",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [line for line in result.stdout.splitlines() if not line.startswith("Runs ")]
    assert lines == ["the script begins", "1 {10: True}", "2 {20: True, 30: True}", "1 round"], "once, not in workers"
