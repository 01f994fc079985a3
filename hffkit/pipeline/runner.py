"""Run the steps of plans, one after the other."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hffkit.errors import HffkitError, writing_to
from hffkit.pipeline.forecast import note_time
from hffkit.pipeline.plan import STEPS_FOLDER, Planned
from hffkit.pipeline.verbs import How
from hffkit.pipeline.work import Workload
from hffkit.storage.staging import LOCK_FILE, lock, refuse_foreign, refuse_inside

OnStep = Callable[[int, Planned], None]


class StepError(HffkitError):
    """A step failed; steps finished before it are kept."""


def run_steps(
    steps: Sequence[Planned], out: Path, how: How, on_step: OnStep = lambda *_: None
) -> None:
    """Run every step that has no output yet, in order.

    Run it again after an interruption: finished steps are kept, and the interrupted one resumes
    as its own command would. `on_step` is called before each step with its number, from 0, and the
    step; `out` is the folder of the plans.

    Raises
    ------
    StepError
        If a step fails; the message has the reason.
    StorageError
        If `out` holds something else, or lies in another product of hffkit.
    """
    refuse_inside(out)
    refuse_foreign(out, "the steps of recipes", STEPS_FOLDER, {LOCK_FILE})
    with lock(out):
        with writing_to(out):
            (out / STEPS_FOLDER).mkdir(exist_ok=True)
        workload = Workload()
        for number, planned in enumerate(steps):
            work = workload.of(planned)
            if planned.is_done:
                continue
            on_step(number, planned)
            request, src = planned.bound()
            begin = time.monotonic()
            try:
                planned.step.does.run(request, src, planned.out, how)
            except HffkitError as error:
                raise StepError(f"step {planned.step.name!r}: {error}") from error
            note_time(out, planned, work, time.monotonic() - begin)
