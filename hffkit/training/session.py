"""The training loop around the step: metrics, validation, checkpoints, and an orderly end."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hffkit.errors import TrainingError, WeightsError
from hffkit.execution.progress import Progress
from hffkit.runs.run import METRICS_FILE
from hffkit.runs.tensors import read_tensors, write_tensors
from hffkit.runs.weights import write_weights
from hffkit.training.graph import CapturedStep
from hffkit.training.loader import Feed
from hffkit.training.metrics_log import MetricsLog
from hffkit.training.sampler import Order
from hffkit.training.trainer import Trainer

CHECKPOINT_FILE = "checkpoint.safetensors"
_CHECKPOINT_SECONDS = 30.0
_VAL_BATCH = 128


@dataclass(frozen=True, slots=True)
class Feeds:
    """Images to learn from and, unless nothing is selected, to select on, with their labels."""

    train: Feed
    order: Order
    val: Feed | None


class Session:
    """One training in its folder, from its beginning or its last checkpoint to its end."""

    def __init__(self, folder: Path, trainer: Trainer, feeds: Feeds, *, tensorboard: bool) -> None:
        """Take up what `folder` holds.

        Raises
        ------
        WeightsError
            If the checkpoint there is damaged.
        """
        self._folder, self._trainer, self._feeds = folder, trainer, feeds
        self._best: dict[str, Any] | None = None
        self._n_worse = 0  # looks at validation since the best one
        self.n_threads = torch.get_num_threads()
        self._resume()
        self._log = MetricsLog(folder, trainer.iteration, with_events=tensorboard)

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT_FILE
        if not path.exists():
            return
        try:
            tensors, facts = read_tensors(path)
            self._trainer.load(tensors, facts["iteration"])
            self._best, self.n_threads = facts["best"], facts["threads"]
            self._n_worse = facts["n_worse"]
        except (WeightsError, KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(
                f"{path}: no whole checkpoint of this training: {reason}. Delete "
                f"{self._folder.parent} to begin anew."
            ) from None

    def run(self) -> dict[str, Any]:
        """Train to the end and return the result: what was selected, and how it scored."""
        trainer, recipe = self._trainer, self._trainer.recipe
        begin, first = time.monotonic(), trainer.iteration
        torch.set_num_threads(self.n_threads)  # results differ between numbers of threads
        with (
            _interrupts() as is_interrupted,
            Progress(
                recipe.max_iterations, unit="iterations", label="train", done=first
            ) as progress,
            self._log,
        ):
            self._loop(progress, is_interrupted)
        if recipe.select == "last" or self._best is None:
            self._check(float(trainer.losses.sum()))
            self._keep({"iteration": trainer.iteration})
        return {
            "iterations": trainer.iteration,
            "stopped_early": trainer.iteration < recipe.max_iterations,
            "selected": self._best,
            "seconds_of_last_start": round(time.monotonic() - begin, 1),
        }

    def _loop(self, progress: Progress, is_interrupted: Callable[[], bool]) -> None:
        trainer, recipe = self._trainer, self._trainer.recipe
        last_saved = time.monotonic()
        step = CapturedStep(trainer) if trainer.device.type == "cuda" else trainer.step
        batches = self._feeds.train.batches(self._feeds.order, trainer.iteration)
        while not self._is_over():
            step(*next(batches))
            done = trainer.iteration
            if done % recipe.log_interval == 0 or done == recipe.max_iterations:
                self._log_losses(progress)
            if done % recipe.val_interval == 0 or done == recipe.max_iterations:
                self._validate()
                last_saved = -math.inf
            if is_interrupted() or time.monotonic() - last_saved > _CHECKPOINT_SECONDS:
                self._save()
                last_saved = time.monotonic()
            progress.step(1)
            if is_interrupted():
                raise KeyboardInterrupt

    def _is_over(self) -> bool:
        """Tell whether all is done, or nothing has got better for as long as the recipe waits."""
        recipe = self._trainer.recipe
        is_worn_out = recipe.patience > 0 and self._n_worse >= recipe.patience
        return is_worn_out or self._trainer.iteration >= recipe.max_iterations

    def _log_losses(self, progress: Progress) -> None:
        trainer = self._trainer
        n = (trainer.iteration - 1) % trainer.recipe.log_interval + 1
        loss = float(trainer.losses[:n].double().mean())
        self._check(loss)
        rate = trainer.recipe.rate(trainer.iteration - 1)
        self._log.add({"iteration": trainer.iteration, "loss": loss, "rate": rate})
        progress.note(loss=f"{loss:.4f}", rate=f"{rate:.2g}")

    def _check(self, loss: float) -> None:
        """Raise TrainingError if a loss is no number, and say what to try."""
        if math.isfinite(loss):
            return
        recipe = self._trainer.recipe
        slower = f"--set base_lr={recipe.base_lr / 10:g}"
        exact = " or --set precision=fp32" if recipe.precision == "bf16" else ""
        raise TrainingError(
            f"The loss is {loss} by iteration {self._trainer.iteration}; "
            f"{self._folder / METRICS_FILE} shows how it came. Try {slower}{exact}, with another "
            f"--out or after deleting {self._folder.parent}."
        )

    def _validate(self) -> None:
        """Look at the validation split, and keep the weights if they are the best so far."""
        if self._feeds.val is None:
            return
        trainer = self._trainer
        self._check(float(trainer.losses.sum()))
        found = trainer.objective.judged(self._feeds.val.in_order(_VAL_BATCH))
        self._check(found["val_loss"])
        row: dict[str, Any] = {"iteration": trainer.iteration, **found}
        self._log.add(row)
        self._n_worse += 1
        if self._is_better(row):
            self._keep(row)
            self._n_worse = 0

    def _is_better(self, row: dict[str, Any]) -> bool:
        if self._trainer.recipe.select == "last":
            return False
        if self._best is None:
            return True
        if self._trainer.recipe.select == "loss":
            return bool(row["val_loss"] < self._best["val_loss"])
        # Of equal accuracies the lower loss: small validation splits tie often.
        return (row["val_accuracy"], -row["val_loss"]) > (
            self._best["val_accuracy"],
            -self._best["val_loss"],
        )

    def _keep(self, row: dict[str, Any]) -> None:
        write_weights(self._folder, self._trainer.net.state_dict(), row)
        self._best = row

    def _save(self) -> None:
        """Write a checkpoint that continues bit for bit, if there are numbers to go on from."""
        trainer = self._trainer
        state = trainer.state()
        if not all(value.isfinite().all() for value in state.values()):
            self._check(math.nan)
        self._log.sync()
        facts = {
            "iteration": trainer.iteration,
            "best": self._best,
            "n_worse": self._n_worse,
            "threads": self.n_threads,
        }
        write_tensors(self._folder / CHECKPOINT_FILE, state, facts)


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C wait for the end of a step; a second one does not wait."""
    seen = False

    def note(*_: object) -> None:
        nonlocal seen
        seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)
