"""kill -9 at random instants and inside every write: resumed, a Run ends with the bits of one left alone.

Run as a script, this file is the process that forks the Runs to be killed: it has imported everything once
and never computed anything itself.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

KILLS = 10
#: In the order a Run writes them; RESULT stands for genotype.json or weights.safetensors.
WRITES = ("start.json", "records.jsonl", "checkpoint.safetensors", "RESULT", "run.json")
MOMENTS = ("half", "before", "after")
RESULT = {"search": "genotype.json", "train": "weights.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESULT)
def test_killed_and_resumed_is_uninterrupted(kind, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, kind, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["random kills"] == KILLS and report["different"] == []
    assert report["killed while writing"] == [f"{moment} {name}" for name in WRITES for moment in MOMENTS]


def nursery(kind: str, root: Path) -> dict:
    import torch

    from hinas_nb.provenance import provenance
    from hinas_nb.running import compute  # noqa: F401  for the forks
    from hinas_nb.training import search, train  # noqa: F401  for the forks

    torch.set_num_threads(1)
    # Done here once, not in every fork: asking git, and what the first optimizer imports.
    provenance()
    torch.optim.SGD([torch.zeros(1)], 0.1)
    config = tiny(kind, root / "images")
    started = time.monotonic()
    folder = attempt(config, root / "whole")
    duration = time.monotonic() - started
    whole = outcome(folder, kind)
    assert len(whole[0]) > 3, "a Run of several checkpoints"
    report = {"random kills": 0, "killed while writing": [], "different": [], "runs": 0, "seconds": duration}

    def finish(folder) -> None:
        report["runs"] += 1
        if outcome(folder, kind) != whole:
            report["different"].append(str(folder.path))

    for name in WRITES:
        for moment in MOMENTS:
            file = RESULT[kind] if name == "RESULT" else name
            if attempt(config, root / "writes", fault=(file, moment)) is None:
                report["killed while writing"].append(f"{moment} {name}")
    finish(attempt(config, root / "writes"))

    chance = random.Random(0)
    while report["random kills"] < KILLS:
        # Short lives: several kills between two checkpoints as well as several checkpoints between two kills.
        folder = attempt(config, root / f"random{report['runs']}", seconds=chance.uniform(0, duration / 2))
        if folder is None:
            report["random kills"] += 1
        else:
            finish(folder)
    finish(attempt(config, root / f"random{report['runs']}"))
    return report


def tiny(kind: str, images: Path):
    from hinas_nb import data
    from hinas_nb.experiment.config import SearchConfig, TrainConfig
    from hinas_nb.method.genotype import Genotype

    rng = np.random.default_rng(0)
    for index in range(7):
        data.write_image(images / f"{index}.png", rng.integers(0, 256, (32, 32), dtype=np.uint8))
    common = {"data": f"folder:{images}", "split": "all", "patch": 16, "batch": 2}
    if kind == "search":
        space = {"layers": 2, "nodes": 2, "base_width": 2}
        return SearchConfig(space=space, epochs=5, warmup_epochs=2, validate_from=3, **common)
    cell = ((("conv_3", 0), ("sep_3", 1)), (("skip", 0), ("dil_3", 2)))
    genotype = Genotype((0, 1), (cell, cell))
    return TrainConfig(genotype=genotype, base_width=2, steps=8, validate_every=2, optimizer="adamw", **common)


def attempt(config, root: Path, seconds: float | None = None, fault: tuple[str, str] | None = None):
    """Start or resume a Run in a fork, kill it after `seconds` or in a write; its folder if it ended."""
    from hinas_nb.running.compute import compute
    from hinas_nb.running.store import Store

    process = os.fork()
    if not process:
        try:
            if fault:
                die_writing(*fault)
            for _ in compute(config, Store(root), device="cpu"):
                pass
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code == -signal.SIGKILL:
        return None
    assert code == 0, "a Run must end by itself or be killed"
    folder = Store(root).folder(config)
    assert folder.done
    return folder


def die_writing(name: str, moment: str) -> None:
    """From now on: kill -9 with half of the file written, or just before or after it replaces the old one."""
    replace, fsync = os.replace, os.fsync

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_replace(source, target):
        mine = Path(target).name == name
        if mine and moment == "before":
            kill()
        replace(source, target)
        if mine and moment == "after":
            kill()

    def dying_fsync(descriptor):
        if moment == "half" and name in Path(os.readlink(f"/proc/self/fd/{descriptor}")).name:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            kill()
        fsync(descriptor)

    os.replace, os.fsync = dying_replace, dying_fsync


def outcome(folder, kind: str) -> tuple[list[dict], bytes]:
    """Records without what they cost, and the bytes of the result."""
    from hinas_nb.running.compute import COSTS

    records = [{k: v for k, v in record.items() if k not in COSTS} for record in folder.records()]
    return records, (folder.path / RESULT[kind]).read_bytes()


if __name__ == "__main__":
    print(json.dumps(nursery(sys.argv[1], Path(sys.argv[2]))))
