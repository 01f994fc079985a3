"""Forecast how long steps take, by the times of finished ones and by measured speeds."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from hffkit.errors import StorageError
from hffkit.input_files import read_object
from hffkit.json_types import JsonObject
from hffkit.pipeline.plan import Planned
from hffkit.pipeline.verbs import VERBS
from hffkit.pipeline.work import StepWork, Workload
from hffkit.reports.durations import duration_text
from hffkit.reports.text_table import Table
from hffkit.storage.staging import write_durably

TIMES_FILE = "times.json"
_LONGEST = 1e9  # s of a step
_N_CORES = 2  # that speeds of networks, measured on one core, are scaled to


@dataclass(frozen=True, slots=True)
class Forecast:
    """The state of a step ("done", "begun" or "to do") and its expected time."""

    planned: Planned
    state: str
    seconds: float | None  # None: not known, because its input does not exist yet

    def to_json(self) -> dict[str, object]:
        """Return the forecast as JSON values."""
        return {
            "step": self.planned.step.name,
            "verb": self.planned.step.verb,
            "identity": self.planned.identity,
            "out": str(self.planned.out),
            "state": self.state,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }

    @property
    def time_text(self) -> str:
        """The expected time as text; empty for a finished step."""
        if self.state == "done":
            return ""
        return "?" if self.seconds is None else duration_text(self.seconds)


def forecast(steps: Sequence[Planned], out: Path) -> list[Forecast]:
    """Forecast each step.

    A guess for two cores is multiplied by the median of what finished steps in `out` took in
    relation to it: steps of the same verb and network, or else of the same verb.
    """
    past = [_past(row) for row in read_times(out).values() if row["images"]]
    workload = Workload()
    found = []
    for planned in steps:
        work = workload.of(planned)
        state = "done" if planned.is_done else "begun" if planned.is_begun else "to do"
        seconds = guess(work) * _pace(work, past) if work.n_images else None
        found.append(Forecast(planned, state, 0.0 if planned.is_done else seconds))
    return found


def _pace(work: StepWork, past: Sequence[tuple[StepWork, float]]) -> float:
    alike = [(other, ratio) for other, ratio in past if other.verb == work.verb]
    same = [ratio for other, ratio in alike if other.network == work.network]
    return median(same or [ratio for _, ratio in alike] or [1.0])


def forecast_text(found: Sequence[Forecast]) -> str:
    """Return forecasts as aligned text, and the sum of what is still to do."""
    rows = tuple(
        (each.state, each.planned.step.name, each.time_text, str(each.planned.out))
        for each in found
    )
    todo = [each.seconds for each in found if each.state != "done"]
    known = [seconds for seconds in todo if seconds is not None]
    total = f"{len(todo)} of {len(found)} steps to do, about {duration_text(sum(known))}"
    if len(known) < len(todo):
        total += f" and {len(todo) - len(known)} steps of unknown length"
    return f"{Table((), rows, left=(0, 1, 3)).to_text()}\n{total}; a guess."


def guess(work: StepWork) -> float:
    """Return the seconds that some work takes on two cores of the machine of the measurements."""
    row = _speeds().get(work.network or "")
    if row is None:
        return work.n_images * VERBS[work.verb].seconds
    n_pixels = (work.size / row["px"]) ** 2
    speed = row["train" if work.verb == "train" else "eval"]
    return work.n_images * n_pixels / speed / _N_CORES


@cache
def _speeds() -> Mapping[str, Mapping[str, float]]:
    """Read the images/s of each network on one core: size in px, train, eval."""
    text = (resources.files("hffkit.manifests") / "speed.csv").read_text("utf-8")
    return {
        row.pop("network"): {name: float(value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    }


def read_times(out: Path) -> JsonObject:
    """Read the recorded times of finished steps, by identity."""
    try:
        rows = read_object(out / TIMES_FILE, StorageError)
    except StorageError:
        return {}
    return {identity: row for identity, row in rows.items() if _is_time(row)}


def _is_time(row: Any) -> bool:
    """Test for a row that `note_time` wrote."""
    if not isinstance(row, dict) or type(row.get("verb")) is not str:
        return False
    n_images, px, seconds = row.get("images"), row.get("px"), row.get("seconds")
    if row["verb"] not in VERBS or type(n_images) is not int or type(px) is not int:
        return False
    is_sized = row.get("network") is None or (type(row["network"]) is str and px > 0)
    is_timed = isinstance(seconds, int | float) and 0 <= seconds < _LONGEST
    return is_sized and is_timed and n_images >= 0


def note_time(out: Path, planned: Planned, work: StepWork, seconds: float) -> None:
    """Record the time of a finished step."""
    row = {
        "step": planned.step.name,
        "verb": work.verb,
        "network": work.network,
        "px": work.size,
        "seconds": round(seconds, 3),
        "images": work.n_images,
    }
    rows = {**read_times(out), planned.identity: row}
    write_durably(out / TIMES_FILE, json.dumps(rows, indent=1, sort_keys=True) + "\n")


def _past(row: JsonObject) -> tuple[StepWork, float]:
    """Return the work of a finished step, and the ratio of its time to the guess."""
    work = StepWork(row["verb"], row["images"], row.get("network"), row["px"])
    return work, row["seconds"] / guess(work)
