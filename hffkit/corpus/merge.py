"""`hffkit merge`: the shards of one command, or several corpora, to one corpus."""

from collections.abc import Iterator, Sequence
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
from hffkit.storage.parts import Event, Record, VideoBoxes


def merge(names: Sequence[str], out: Path) -> CorpusInfo:
    """Join corpora to the corpus `out` and return its contents.

    The shards of one build or degrade, in whatever order they are named, give what the unsharded
    command gives, digests included. Other corpora follow one another as named.

    Raises
    ------
    StorageError
        If shards are missing, or the corpora do not go together.
    """
    corpora = open_corpora(names)
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
    paths = [corpus.path.resolve() for corpus in corpora]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise StorageError(f"{twice[0]} is named twice. Name each corpus once.")
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
                f"{corpus.path} is no shard of the same whole as {corpora[0].path}: "
                f"{', '.join(differing) or 'the number of shards'} differ."
            )
    numbers = [corpus.provenance.shard[0] for corpus in corpora if corpus.provenance.shard]
    missing = sorted(set(range(total)) - set(numbers))
    if missing or len(numbers) != total:
        raise StorageError(
            f"All shards must be there, once each: got {sorted(numbers)} of {total}."
        )


def _events(corpus: Corpus, *, keeps_index: bool) -> Iterator[Event]:
    """Yield a finished corpus as it would come from parts."""
    yield from read_failures(corpus.path / FAILURES_FILE)
    yield from _boxes(corpus)
    for sample in corpus.samples():
        value = corpus.records.get(sample.lmdb_key)
        yield Record(sample if keeps_index else sample._replace(index=None), value)


def _boxes(corpus: Corpus) -> Iterator[VideoBoxes]:
    """Yield a shard's boxes as they are, another corpus's under keys that no other corpus has."""
    if corpus.provenance.shard is not None:
        for video, frames in read_boxes(corpus.path / BOXES_FILE).items():
            yield VideoBoxes(video, frames)
        return
    of_key: dict[str, dict[int, Box]] = {}
    for sample in corpus.samples():
        if sample.box is not None and sample.frame is not None:
            of_key.setdefault(sample.key.rpartition("/")[0], {})[sample.frame] = sample.box
    for key, frames in of_key.items():
        yield VideoBoxes(key, frames)
