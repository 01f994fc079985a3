"""The training loop: updates, metrics, validation, checkpoints, and an orderly end."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hffkit.errors import TrainingError, WeightsError
from hffkit.execution.progress import Progress
from hffkit.execution.signals import deferred_signals
from hffkit.manifest.samples import Split
from hffkit.runs.run import METRICS_FILE, WEIGHTS_FILE, TrainingResult
from hffkit.runs.weights import write_tensors
from hffkit.storage.staging import Partial
from hffkit.training.checkpoint import (
    CHECKPOINT_FILE,
    WrittenFile,
    check_files,
    read_checkpoint,
    write_checkpoint,
    written_file,
)
from hffkit.training.loader import Loader
from hffkit.training.metrics_log import MetricsLog
from hffkit.training.sampler import BatchSampler
from hffkit.training.updater import Updater, captured_step

_NEXT_FILE = "next-weights.safetensors"
_PREVIOUS = "previous-"  # before the names of the last but one checkpoint, and of older weights
_CHECKPOINT_SECONDS = 30.0
_VAL_BATCH = 128


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Iterations after which the weights are written, and the function that writes the files."""

    iterations: frozenset[int]
    write: Callable[[int, dict[str, Tensor]], Sequence[Path]]


class TrainingLoop:
    """A training in its folder, from the start or its last checkpoint to the end."""

    def __init__(
        self,
        partial: Partial,
        updater: Updater,
        loaders: Mapping[Split, Loader],
        sampler: BatchSampler,
        *,
        tensorboard: bool,
        notify: Callable[[str], object],
    ) -> None:
        """Restore the newest whole checkpoint in the parts of `partial`, if there is one.

        Parameters
        ----------
        partial
            Its product is the run.
        loaders
            Those of train and, unless the last weights are kept, of val.
        notify
            Called with a notice if the newest checkpoint is damaged, or training slower than it
            should be.

        Raises
        ------
        WeightsError
            If both of the last two checkpoints are damaged, or a file that the training wrote.
        """
        self._folder, self._updater = partial.product, updater
        self._checkpoint = partial.parts / CHECKPOINT_FILE
        self._previous = partial.parts / (_PREVIOUS + CHECKPOINT_FILE)
        self._next = partial.parts / _NEXT_FILE
        self._older = partial.parts / (_PREVIOUS + WEIGHTS_FILE)
        self._loaders, self._sampler, self._notify = loaders, sampler, notify
        self._best: dict[str, float] | None = None  # iteration and metrics of the kept weights
        self._n_worse = 0  # validations since the best one
        self._files: dict[str, WrittenFile] = {}  # files of `folder` that the checkpoint knows
        self.n_threads = torch.get_num_threads()
        self._restore()
        known = self._files.get(METRICS_FILE)
        n_bytes = 0 if known is None else known.n_bytes
        self._log = MetricsLog(self._folder, updater.iteration, n_bytes, with_events=tensorboard)

    def _restore(self) -> None:
        if self._read_newest() == self._previous:
            if self._checkpoint.exists():
                self._notify(
                    f"{self._checkpoint} is damaged: the training goes on from the checkpoint "
                    f"before it, of iteration {self._updater.iteration}."
                )
            self._previous.replace(self._checkpoint)
            if self._older.exists() and written_file(self._older) == self._files.get(WEIGHTS_FILE):
                self._older.replace(self._folder / WEIGHTS_FILE)
        if self._next.exists():
            # Selected weights are kept once a checkpoint needs them: see `_save`.
            if written_file(self._next) == self._files.get(WEIGHTS_FILE):
                self._keep()
            self._next.unlink(missing_ok=True)
        check_files(self._folder, self._files)

    def _read_newest(self) -> Path | None:
        """Load the newest checkpoint that is whole, and return its path; None if there is none."""
        paths = [path for path in (self._checkpoint, self._previous) if path.exists()]
        for path in paths:
            try:
                self._read_checkpoint(path)
            except WeightsError:
                if path == paths[-1]:
                    raise
            else:
                return path
        return None

    def _read_checkpoint(self, path: Path) -> None:
        try:
            tensors, facts = read_checkpoint(path)
            self._updater.load(tensors, facts["iteration"])
            self._best, self._n_worse = facts["best"], facts["n_worse"]
            self._files = {name: WrittenFile(**row) for name, row in facts["files"].items()}
            self.n_threads = facts["threads"]
        except (WeightsError, KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise WeightsError(
                f"{path}: not a whole checkpoint of this training: {reason}. Delete "
                f"{self._folder.parent} to start again."
            ) from None

    def run(self, snapshot: Snapshot) -> TrainingResult:
        """Train to the end and return the result; see `Snapshot`."""
        updater, recipe = self._updater, self._updater.recipe
        begin, first = time.monotonic(), updater.iteration
        torch.set_num_threads(self.n_threads)  # results differ between numbers of threads
        progress = Progress(recipe.n_iterations, unit="iterations", label="train", done=first)
        with deferred_signals() as is_interrupted, progress, self._log:
            self._loop(progress, is_interrupted, snapshot)
        if recipe.select == "last" or self._best is None:
            self._check(float(updater.losses.sum()))
            self._select({"iteration": updater.iteration})
            self._keep()
        check_files(self._folder, self._files)
        return TrainingResult(
            updater.iteration,
            updater.iteration < recipe.n_iterations,
            self._best,
            round(time.monotonic() - begin, 1),
        )

    def _loop(
        self, progress: Progress, is_interrupted: Callable[[], bool], snapshot: Snapshot
    ) -> None:
        updater, recipe = self._updater, self._updater.recipe
        last_saved = time.monotonic()
        is_cuda = updater.device.type == "cuda"
        step = captured_step(updater, self._notify) if is_cuda else updater.step
        batches = self._loaders["train"].batches(self._sampler, updater.iteration)
        while not self._is_over():
            step(*next(batches))
            done = updater.iteration
            progress.step(1)
            if done % recipe.log_interval == 0 or done == recipe.n_iterations:
                self._log_losses(progress)
            # Before any checkpoint of this iteration: a resumed training starts after it.
            if done in snapshot.iterations:
                self._write_snapshot(snapshot)
            if done % recipe.val_interval == 0 or done == recipe.n_iterations:
                self._validate(progress)
                last_saved = -math.inf
            if is_interrupted() or time.monotonic() - last_saved > _CHECKPOINT_SECONDS:
                self._save()
                last_saved = time.monotonic()
            if is_interrupted():
                return

    def _write_snapshot(self, snapshot: Snapshot) -> None:
        updater = self._updater
        self._check(float(updater.losses.sum()))
        for path in snapshot.write(updater.iteration, updater.net.state_dict()):
            self._files[path.relative_to(self._folder).as_posix()] = written_file(path)

    def _is_over(self) -> bool:
        """Return True after the last iteration, or when the recipe's patience is exhausted."""
        recipe = self._updater.recipe
        is_worn_out = recipe.patience > 0 and self._n_worse >= recipe.patience
        return is_worn_out or self._updater.iteration >= recipe.n_iterations

    def _log_losses(self, progress: Progress) -> None:
        updater = self._updater
        n = (updater.iteration - 1) % updater.recipe.log_interval + 1
        loss = float(updater.losses[:n].double().mean())
        self._check(loss)
        rate = updater.recipe.rate(updater.iteration - 1)
        self._log.add({"iteration": updater.iteration, "loss": loss, "rate": rate})
        progress.note(loss=f"{loss:.4f}", rate=f"{rate:.2g}")

    def _check(self, loss: float) -> None:
        """Raise TrainingError with advice if a loss is not finite."""
        if math.isfinite(loss):
            return
        recipe = self._updater.recipe
        exact = ", or precision = fp32" if recipe.precision == "bf16" else ""
        raise TrainingError(
            f"The loss is {loss} at iteration {self._updater.iteration}; "
            f"{self._folder / METRICS_FILE} has the losses before. Try base_lr = "
            f"{recipe.base_lr / 10:g}{exact}, in another folder or after deleting "
            f"{self._folder.parent}."
        )

    def _validate(self, progress: Progress) -> None:
        """Measure the network on the validation split; keep the weights if they are the best."""
        if "val" not in self._loaders:
            return
        updater = self._updater
        self._check(float(updater.losses.sum()))
        found = updater.loss.validate(self._loaders["val"].in_order(_VAL_BATCH))
        self._check(found["val_loss"])
        row = {"iteration": updater.iteration, **found}
        self._log.add(row)
        self._n_worse += 1
        if self._best is None or self._rank(row) > self._rank(self._best):
            self._select(row)
            self._n_worse = 0
        is_best = self._best is row
        progress.report(
            val=f"{100 * found['val_accuracy']:.2f} %{' (best)' if is_best else ''}",
            val_loss=f"{found['val_loss']:.4f}",
        )

    def _rank(self, row: dict[str, float]) -> tuple[float, float]:
        if self._updater.recipe.select == "loss":
            return -row["val_loss"], 0.0
        # Small validation splits often tie; of equal accuracies the lower loss is better.
        return row["val_accuracy"], -row["val_loss"]

    def _select(self, row: dict[str, float]) -> None:
        """Write the current weights as those that the next checkpoint keeps."""
        write_tensors(self._next, self._updater.net.state_dict(), row)
        self._files[WEIGHTS_FILE] = written_file(self._next)
        self._best = row

    def _keep(self) -> None:
        """Put the weights that were selected last in the place of older ones, which are kept."""
        kept = self._folder / WEIGHTS_FILE
        if kept.exists():
            kept.replace(self._older)
        self._next.replace(kept)

    def _save(self) -> None:
        """Write a checkpoint that continues bit for bit, if all of its numbers are finite."""
        updater = self._updater
        state = updater.state()
        if not all(value.isfinite().all() for value in state.values()):
            self._check(math.nan)
        self._files[METRICS_FILE] = self._log.sync()
        facts = {
            "iteration": updater.iteration,
            "best": self._best,
            "n_worse": self._n_worse,
            "threads": self.n_threads,
            "files": {name: written.to_json() for name, written in self._files.items()},
        }
        if self._checkpoint.exists():
            self._checkpoint.replace(self._previous)
        write_checkpoint(self._checkpoint, state, facts)
        # Not before: the checkpoint until now needs the older weights.
        if self._next.exists():
            self._keep()
