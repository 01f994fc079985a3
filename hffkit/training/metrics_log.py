"""The metrics of a training: metrics.jsonl, and TensorBoard's events on request."""

import hashlib
import os
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from hffkit.errors import TrainingError, writing_to
from hffkit.manifest.samples import json_line
from hffkit.runs.run import METRICS_FILE
from hffkit.training.checkpoint import WrittenFile


class MetricsLog:
    """Lines of metrics, each with its iteration."""

    def __init__(self, folder: Path, iteration: int, n_bytes: int, *, with_events: bool) -> None:
        """Start the log, or continue the first `n_bytes` of it after `iteration`.

        Raises
        ------
        TrainingError
            If events are wanted and TensorBoard is not installed.
        """
        write_events = _event_writer() if with_events else None
        self._path = folder / METRICS_FILE
        self._n_bytes = n_bytes
        with self._writing(), ExitStack() as opened:
            self._file = opened.enter_context(self._path.open("ab"))
            os.truncate(self._path, n_bytes)
            self._written = hashlib.sha256(self._path.read_bytes())
            events = folder / "events"
            self._events = write_events and write_events(str(events), purge_step=iteration + 1)
            opened.pop_all()  # it stays open

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
        line = json_line(row).encode()
        with self._writing():
            self._file.write(line)
            self._file.flush()
        self._written.update(line)
        self._n_bytes += len(line)
        if self._events is not None:
            for name, value in row.items():
                if name != "iteration":
                    self._events.add_scalar(name, value, row["iteration"])

    def sync(self) -> WrittenFile:
        """Make the lines durable, and return what the file must hold."""
        with self._writing():
            os.fsync(self._file.fileno())
        return WrittenFile(self._n_bytes, self._written.hexdigest())

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
