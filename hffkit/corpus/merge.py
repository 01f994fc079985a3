"""`hffkit merge`: one corpus of the shards of a command, or of several corpora."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hffkit.corpus.build import paper_surplus
from hffkit.corpus.derived import Piece, joint_versions, write_derived
from hffkit.errors import StorageError
from hffkit.faces.detection import read_boxes
from hffkit.manifest.failures import read_failures
from hffkit.manifest.samples import Box, GroupGuard
from hffkit.storage.corpora import joint_classes, open_corpora, samples_of
from hffkit.storage.corpus import BOXES_FILE, FAILURES_FILE, Corpus, CorpusInfo, Provenance
from hffkit.storage.datasets import datasets_note
from hffkit.storage.parts import Event, Record, VideoBoxes


def merge(
    names: Sequence[str], out: Path, notify: Callable[[str], object] = lambda _: None
) -> CorpusInfo:
    """Merge corpora into the corpus `out` and return its contents.

    The shards of one build or degrade, in any order, give the corpus of the unsharded command with
    the same digests. Other corpora are concatenated in the order given. `notify` is called at the
    start if some of them are taken as different datasets.

    Raises
    ------
    StorageError
        If shards are missing, or the corpora differ in form, classes or versions.
    """
    corpora = open_corpora(names)
    note = datasets_note(corpora)
    if note is not None:
        notify(note)
    provenance = _joint_provenance(corpora)
    corpora = sorted(corpora, key=lambda corpus: corpus.provenance.shard or (0, 1))
    choose = paper_surplus(provenance) if provenance.verb == "build" else None
    left_out = choose(sample for _, sample in samples_of(corpora)) if choose else set()
    guard = GroupGuard()  # before anything is written
    for _, sample in samples_of(corpora):
        guard.check(sample)
    keeps_index = provenance.verb == "build" and bool(provenance.options.get("keeps_index"))
    pieces = (
        Piece(
            name=f"{number} {corpus.content_sha256}",
            n_samples=corpus.n_samples,
            events=_events(corpus, keeps_index=keeps_index),
        )
        for number, corpus in enumerate(corpora)
    )
    total = sum(corpus.n_samples for corpus in corpora)
    return write_derived(out, provenance, pieces, label="merge", n_samples=total, left_out=left_out)


def _joint_provenance(corpora: Sequence[Corpus]) -> Provenance:
    first = corpora[0].provenance
    first = replace(first, versions=joint_versions(corpora))
    if any(corpus.provenance.shard for corpus in corpora):
        _check_shards(corpora)
        listing = {"listing": None} if first.verb == "build" else {}
        return replace(first, shard=None, options={**first.options, **listing})
    parts = [corpus.content_sha256 for corpus in corpora]
    return replace(
        first, classes=joint_classes(corpora), verb="merge", options={"content_sha256": parts}
    )


def _check_shards(corpora: Sequence[Corpus]) -> None:
    first = corpora[0].provenance
    total = first.shard[1] if first.shard else 1
    for corpus in corpora:
        provenance = corpus.provenance
        here, there = ({**r.options, "src": None} for r in (provenance, first))
        differing = sorted(name for name in here if here[name] != there.get(name))
        if provenance.shard is None or provenance.shard[1] != total or differing:
            raise StorageError(
                f"{corpus.path} and {corpora[0].path} are not shards of one command: they differ "
                f"in {', '.join(differing) or 'the number of shards'}."
            )
    numbers = [corpus.provenance.shard[0] for corpus in corpora if corpus.provenance.shard]
    missing = sorted(set(range(total)) - set(numbers))
    if missing or len(numbers) != total:
        raise StorageError(f"Name each of the {total} shards once, got numbers {sorted(numbers)}.")


def _events(corpus: Corpus, *, keeps_index: bool) -> Iterator[Event]:
    """Yield the contents of a corpus as events of parts."""
    yield from read_failures(corpus.file(FAILURES_FILE))
    yield from _boxes(corpus)
    for sample in corpus.samples():
        value = corpus.value(sample)
        yield Record(sample if keeps_index else sample._replace(index=None), value)


def _boxes(corpus: Corpus) -> Iterator[VideoBoxes]:
    """Yield the boxes of a shard; of another corpus under sample keys, which are unique."""
    if corpus.provenance.shard is not None:
        for video, frames in read_boxes(corpus.file(BOXES_FILE)).items():
            yield VideoBoxes(video, frames)
        return
    of_key: dict[str, dict[int, Box]] = {}
    for sample in corpus.samples():
        if sample.box is not None and sample.frame is not None:
            of_key.setdefault(sample.key.rpartition("/")[0], {})[sample.frame] = sample.box
    for key, frames in of_key.items():
        yield VideoBoxes(key, frames)
