"""Processor time of `hffkit degrade --size 128` by task, for a record of 128 px.

    python benchmarks/costs.py --data ../shared/data/images

Prints microseconds of processor time a record, user and system, summed over all processes:

- all: the whole command on 60,000 native records, with as many workers as there are cores;
- start: the start-up, measured as the time the command takes for 30 records;
- calls: the library calls alone (decode, operation, resize), as *work* in benchmarks/degrade.py;
- SHA-256, LMDB, part: one digest of a packed record; writing it to the database; writing and
  reading it and its manifest line in a part file, as a worker and the writer do;
- rest: the remainder: reading records and lines, random draws, checks, and the calls between.
"""

import argparse
import hashlib
import resource
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from degrade import WORKERS, lay_out, packed, work

from hffkit.storage.corpus import Corpus
from hffkit.storage.lmdb_file import LmdbWriter
from hffkit.storage.parts import PartWriter, Record, read_part, recycle

N_ALL, N_CALLS, N_PARTS, N_START = 60000, 24000, 6000, 30
BLOCK = 512  # records in a part


def spent(whose: int, run: Callable[[], object]) -> float:
    """Measure the processor time of a call in seconds."""
    before = resource.getrusage(whose)
    run()
    after = resource.getrusage(whose)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def digest(records: Sequence[Record]) -> None:
    """Digest each record once."""
    for record in records:
        hashlib.sha256(record.value or b"").hexdigest()


def write(records: Sequence[Record], out: Path) -> None:
    """Write the records to a database."""
    with LmdbWriter(out / "lmdb") as writer:
        for number, record in enumerate(records):
            writer.put(b"%08d" % number, record.value or b"")
        writer.flush()


def through_parts(records: Sequence[Record], out: Path) -> None:
    """Write the records to parts and read them back."""
    path = out / "unit.part"
    for start in range(0, len(records), BLOCK):
        with PartWriter(path, is_durable=False) as part:
            for record in records[start : start + BLOCK]:
                part.add(record)
        for _ in read_part(path):
            pass
        recycle(path)


def pieces(data: Path, scratch: Path) -> dict[str, float]:
    """Measure the tasks common to all operations, in seconds a record."""
    corpus = Corpus(lay_out(data, scratch, 128, N_PARTS, is_packed=True))
    values = (value for _, value in corpus.records.items())
    records = [
        Record(sample, value) for sample, value in zip(corpus.samples(), values, strict=True)
    ]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        ways: dict[str, Callable[[], None]] = {
            "SHA-256": partial(digest, records),
            "LMDB": partial(write, records, Path(folder)),
            "part": partial(through_parts, records, Path(folder)),
        }
        return {name: spent(resource.RUSAGE_SELF, way) / len(records) for name, way in ways.items()}


def command(data: Path, scratch: Path, op: str, n: int) -> float:
    """Return the seconds that the command takes for `n` records."""
    corpus = lay_out(data, scratch, 128, n)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return spent(resource.RUSAGE_CHILDREN, partial(packed, corpus, op, Path(folder)))


def main() -> None:
    """Print a row for each operation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "hffkit-bench"))
    parser.add_argument("--ops", default="me:5,med:5,jp:75")
    arguments = parser.parse_args()
    data, scratch = arguments.data, arguments.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    common = pieces(data, scratch)
    print(f"| operation | all | start | calls | {' | '.join(common)} | rest |")
    print("|---" * (len(common) + 5) + "|")
    for op in arguments.ops.split(","):
        parts = [
            command(data, scratch, op, N_START) / N_ALL,
            WORKERS * work(lay_out(data, scratch, 128, N_CALLS), op, scratch) / N_CALLS,
            *common.values(),
        ]
        whole = command(data, scratch, op, N_ALL) / N_ALL
        row = [whole, *parts, whole - sum(parts)]
        print(f"| {op} | {' | '.join(f'{1e6 * seconds:.0f}' for seconds in row)} |", flush=True)


if __name__ == "__main__":
    main()
