"""Snapshots of a training: run folders RUN/snapshots/ITERATION with the weights of an iteration."""

from pathlib import Path
from typing import TYPE_CHECKING

from hffkit.errors import WeightsError, writing_to
from hffkit.runs.run import GROUPS_FILE, RUN_FILE, WEIGHTS_FILE, Run, TrainingResult
from hffkit.runs.training_samples import SAMPLES_FILE
from hffkit.runs.weights import write_weights
from hffkit.storage.staging import write_bytes_durably

if TYPE_CHECKING:
    from torch import Tensor

_FOLDER = "snapshots"


def write_snapshot(
    folder: Path, run: Run, state: "dict[str, Tensor]", iteration: int
) -> list[Path]:
    """Write the weights of an iteration as a run inside the run folder `folder`.

    It records the same training data. An older snapshot of the iteration is replaced. Its run.json
    appears last. The files are returned.
    """
    out = folder / _FOLDER / f"{iteration:06d}"
    with writing_to(out):
        out.mkdir(parents=True, exist_ok=True)
    write_weights(out, state, {"iteration": iteration})
    records = [name for name in (GROUPS_FILE, SAMPLES_FILE) if (folder / name).exists()]
    for name in records:
        write_bytes_durably(out / name, (folder / name).read_bytes())
    run.done(TrainingResult(iteration, None, {"iteration": iteration}), out).write(out)
    return [out / name for name in (WEIGHTS_FILE, *records, RUN_FILE)]


def snapshots_of(folder: Path) -> dict[int, Path]:
    """Return the snapshots of a run by iteration, in order.

    Raises
    ------
    WeightsError
        If there are none.
    """
    folders = [path.parent for path in (folder / _FOLDER).glob(f"*/{RUN_FILE}")]
    found = {int(path.name): path for path in folders if path.name.isdecimal()}
    if not found:
        raise WeightsError(
            f"{folder}: no snapshots. `hffkit train --snapshot 100,10000` writes some."
        )
    return dict(sorted(found.items()))
