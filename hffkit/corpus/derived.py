"""Corpora derived from others record by record: the write loop of mix, merge and subset."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from hffkit.errors import StorageError
from hffkit.execution.progress import Progress
from hffkit.storage.corpora import joint_classes
from hffkit.storage.corpus import Corpus, CorpusInfo, Provenance
from hffkit.storage.datum import relabelled
from hffkit.storage.parts import Event, Record
from hffkit.storage.staging import Partial
from hffkit.storage.writer import CorpusWriter

_ROWS_PER_PIECE = 512
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive events of a derived corpus, written at once; the name identifies their input."""

    name: str
    n_samples: int  # on the progress bar
    events: Iterable[Event]


def pieces_of(rows: Iterable[T], events_of: Callable[[T], Iterable[Event]]) -> Iterator[Piece]:
    """Yield pieces of 512 rows each, named by their numbers."""
    waiting = iter(rows)
    number = 0
    while batch := list(islice(waiting, _ROWS_PER_PIECE)):
        yield Piece(str(number), len(batch), (event for row in batch for event in events_of(row)))
        number += 1


def write_derived(
    out: Path,
    provenance: Provenance,
    pieces: Iterable[Piece],
    *,
    label: str,
    n_samples: int,
    left_out: Collection[str] = (),
) -> CorpusInfo:
    """Write the corpus `out` piece by piece and return its contents.

    After an interruption the same call resumes behind the last piece that is durable. `label` and
    `n_samples` are of the progress bar; samples whose keys are in `left_out` are dropped.
    """
    with Partial(out, provenance.to_json()) as partial:
        with (
            CorpusWriter(partial.product) as writer,
            Progress(n_samples, unit="samples", label=label) as progress,
        ):
            durable = tuple(writer.units)
            for number, piece in enumerate(pieces):
                if number >= len(durable):
                    events = (_labelled(event, provenance) for event in piece.events)
                    writer.append(piece.name, events, lambda s: s.key not in left_out)
                elif piece.name != durable[number]:
                    raise StorageError(
                        f"{partial.path}: the corpora changed after it was begun. Delete it and "
                        "run the same command again."
                    )
                progress.step(piece.n_samples)
            info = writer.finish(provenance, len(left_out))
        partial.publish()
    return info


def _labelled(event: Event, provenance: Provenance) -> Event:
    """Give a record the label of its class in the new corpus, where ids may differ."""
    if not isinstance(event, Record) or event.value is None:
        return event
    label = provenance.classes.label(event.sample.cls, provenance.labels)
    return replace(event, value=relabelled(event.value, label))


def derived_provenance(
    corpora: Sequence[Corpus], verb: str, options: Mapping[str, object]
) -> Provenance:
    """Return the provenance of a corpus whose records are those of `corpora`, but for labels."""
    first = corpora[0].provenance
    return Provenance(
        classes=joint_classes(corpora),
        size=first.size,
        labels=first.labels,
        verb=verb,
        options=options,
        versions=joint_versions(corpora),
        holds=first.holds,
    )


def joint_versions(corpora: Sequence[Corpus]) -> dict[str, str]:
    """Return the versions that corpora were made with; StorageError where two of them differ."""
    found: dict[str, tuple[str, Corpus]] = {}
    for corpus in corpora:
        for name, version in corpus.provenance.versions.items():
            known, other = found.setdefault(name, (version, corpus))
            if known != version:
                raise StorageError(
                    f"{other.path} and {corpus.path} were made by different versions: {name} "
                    f"{known} and {version}. Their pixels may differ for the same input; make both "
                    "with the same versions."
                )
    return {name: version for name, (version, _) in found.items()}
