"""The metrics of a training: metrics.jsonl, and TensorBoard's events on request."""

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from hffkit.errors import TrainingError, writing_to
from hffkit.input_files import object_of
from hffkit.manifest.samples import json_line
from hffkit.runs.run import METRICS_FILE


class MetricsLog:
    """Lines of metrics, each with its iteration."""

    def __init__(self, folder: Path, iteration: int, *, with_events: bool) -> None:
        """Start the log, or continue it after `iteration`; later lines are cut off.

        Raises
        ------
        TrainingError
            If events are wanted and TensorBoard is not installed.
        """
        write_events = _event_writer() if with_events else None
        self._path = folder / METRICS_FILE
        with self._writing():
            self._file = self._path.open("ab")
        try:
            with self._writing():
                os.truncate(self._path, _length_until(self._path, iteration))
                events = folder / "events"
                self._events = write_events and write_events(str(events), purge_step=iteration + 1)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        # After an error, closing would only report it a second time.
        with suppress(OSError) if kind else self._writing():
            self._file.close()
        if self._events is not None:
            self._events.close()

    def add(self, row: dict[str, float]) -> None:
        """Append a line of metrics with their iteration."""
        with self._writing():
            self._file.write(json_line(row).encode())
            self._file.flush()
        if self._events is not None:
            for name, value in row.items():
                if name != "iteration":
                    self._events.add_scalar(name, value, row["iteration"])

    def sync(self) -> None:
        """Make the lines durable."""
        with self._writing():
            os.fsync(self._file.fileno())

    def _writing(self) -> AbstractContextManager[None]:
        return writing_to(
            self._path,
            " Free some space and run the same command again; it continues from the last "
            "checkpoint.",
        )


def _event_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            'TensorBoard is not installed: pip install -e ".[tensorboard]".'
        ) from None
    return SummaryWriter


def _length_until(path: Path, iteration: int) -> int:
    """Return the number of bytes of the whole lines up to an iteration."""
    length = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = object_of(line, str(path), TrainingError)
            is_kept = line.endswith(b"\n") and row["iteration"] <= iteration
        except (TrainingError, KeyError, TypeError):
            is_kept = False
        if not is_kept:
            break
        length += len(line)
    return length
