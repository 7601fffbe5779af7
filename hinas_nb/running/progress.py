"""Say how far a Run is, from what stands in its folder; `hinas-nb status` and long batches show it."""

import json
import math
from pathlib import Path

from hinas_nb import files
from hinas_nb.scoring.units import duration

#: What a record counts, and the setting that says how many there will be; of images nobody knows beforehand.
COUNTED = {
    "search": ("epoch", "epochs"),
    "train": ("step", "steps"),
    "timing": ("round", "rounds"),
    "latency": ("round", "rounds"),
}


def progress(folder: Path) -> str:
    """Say how far a Run is, `epoch 5 of 20, 12 min left`; empty where nothing tells it."""
    try:
        config = files.read_json(folder / "start.json")["config"]
        records = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
        if folder.parent.name not in COUNTED:
            return f"{len(records)} images"
        word, setting = COUNTED[folder.parent.name]
        last = json.loads(records[-1])
        done, total = last[word], config[setting]
        left = last.get("seconds", math.nan) * len(records) * (total - done) / done
        return f"{word} {done:,} of {total:,}, {duration(left)} left"
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
        return ""
