"""Run plans step by step, and forecast how long they take."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hffkit.errors import HffkitError, writing_to
from hffkit.json_types import JsonObject
from hffkit.pipeline.plan import STEPS_FOLDER, Plan, Planned
from hffkit.pipeline.sizes import Sizes
from hffkit.pipeline.verbs import How
from hffkit.reports.text_table import Table
from hffkit.storage.staging import lock, write_durably

TIMES_FILE = "times.json"
# Seconds for each image on two cores of a server (docs/performance.md), before any step has run.
_SECONDS = {
    "build": 0.02, "pack": 0.0003, "degrade": 0.0004, "mix": 0.0002, "subset": 0.0002,
    "train": 0.01, "spectrum": 0.003, "eval": 0.005,
}  # fmt: skip

OnStep = Callable[[int, Planned], None]


class StepError(HffkitError):
    """A step failed; steps finished before it are kept."""


def run_plan(plan: Plan, out: Path, how: How, on_step: OnStep = lambda *_: None) -> None:
    """Run every step that has no output yet, in order.

    Run it again after an interruption: finished steps are kept, and the interrupted one resumes
    as its own command would. `on_step` is called before each step with its number, from 0, and the
    step; `out` is the folder of the plan.

    Raises
    ------
    StepError
        If a step fails; the message has the reason.
    """
    with lock(out):
        with writing_to(out):
            (out / STEPS_FOLDER).mkdir(exist_ok=True)
        sizes = Sizes()
        for number, planned in enumerate(plan.steps):
            if planned.is_done:
                continue
            on_step(number, planned)
            request, src = planned.bound()
            begin = time.monotonic()
            try:
                planned.step.does.run(request, src, planned.out, how)
            except HffkitError as error:
                raise StepError(f"step {planned.step.name!r}: {error}") from error
            seconds = time.monotonic() - begin
            _note_time(out, planned, seconds, sizes.processed_by(planned))


def read_times(out: Path) -> JsonObject:
    """Read the recorded times of finished steps, by identity."""
    try:
        rows = json.loads((out / TIMES_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return rows if isinstance(rows, dict) else {}


def _note_time(out: Path, planned: Planned, seconds: float, n_images: int) -> None:
    row = {
        "step": planned.step.name,
        "verb": planned.step.verb,
        "seconds": round(seconds, 3),
        "pictures": n_images,
    }
    rows = {**read_times(out), planned.identity: row}
    write_durably(out / TIMES_FILE, json.dumps(rows, indent=1, sort_keys=True) + "\n")


@dataclass(frozen=True, slots=True)
class Forecast:
    """The state of a step ("done", "begun" or "to do") and its expected time."""

    planned: Planned
    state: str
    seconds: float

    def to_json(self) -> dict[str, object]:
        """Return the forecast as JSON values."""
        return {
            "step": self.planned.step.name,
            "verb": self.planned.step.verb,
            "identity": self.planned.identity,
            "out": str(self.planned.out),
            "state": self.state,
            "seconds": round(self.seconds, 1),
        }


def forecast_text(found: Sequence[Forecast]) -> str:
    """Return forecasts as aligned text, and the sum of what is still to do."""
    rows = tuple(
        (
            each.state,
            each.planned.step.name,
            "" if each.state == "done" else f"{each.seconds:,.0f} s",
            str(each.planned.out),
        )
        for each in found
    )
    todo = [each for each in found if each.state != "done"]
    hours = sum(each.seconds for each in todo) / 3600
    total = f"{len(todo)} of {len(found)} steps to do, about {hours:.2g} hours; a guess."
    return f"{Table((), rows, left=(0, 1, 3)).to_text()}\n{total}"


def forecast(plan: Plan, out: Path) -> list[Forecast]:
    """Forecast each step of a plan, by the times of earlier steps or by a guess."""
    rates: dict[str, list[float]] = {}
    for row in read_times(out).values():
        if row["pictures"]:
            rates.setdefault(row["verb"], []).append(row["seconds"] / row["pictures"])
    sizes = Sizes()
    found = []
    for planned in plan.steps:
        n = sizes.processed_by(planned)
        verb = planned.step.verb
        rate = median(rates[verb]) if verb in rates else _SECONDS[verb]
        state = "done" if planned.is_done else "begun" if planned.is_begun else "to do"
        found.append(Forecast(planned, state, 0.0 if planned.is_done else rate * n))
    return found
