"""Reuse of a finished corpus, so that only its unreadable inputs are built again."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from hffkit.errors import StorageError
from hffkit.execution.jobs import Job
from hffkit.extraction.units import Family, ImageBlock, ImageFile, Unit, Video
from hffkit.faces.detection import Boxes, read_boxes
from hffkit.manifest.failures import FATAL, Failure, read_failures
from hffkit.manifest.samples import Sample
from hffkit.storage.corpus import BOXES_FILE, FAILURES_FILE, Corpus, Provenance
from hffkit.storage.parts import PartWriter, Record, VideoBoxes
from hffkit.storage.staging import differences


@dataclass(slots=True)
class _Past:
    """Samples and failures of one unit in the finished corpus."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # paths of the unit's files that gave either

    @property
    def is_sound(self) -> bool:
        """True if every file of the unit was read to its end."""
        return all(failure.kind not in (*FATAL, "short-read") for failure in self.failures)


def check_retry(corpus: Corpus, provenance: Provenance) -> None:
    """Raise StorageError unless `corpus` was built with the same arguments."""
    wrong = differences(corpus.provenance.to_json(), json.loads(json.dumps(provenance.to_json())))
    if wrong:
        raise StorageError(
            f"{corpus.path} was built by another command: {'; '.join(wrong)}. Retry with the "
            "arguments that it was built with."
        )
    if corpus.info.n_left_out:
        raise StorageError(
            f"{corpus.path} was cut to the paper's totals, so what was left out is gone. Build it "
            "again."
        )


def seed_parts(corpus: Corpus, jobs: Sequence[Job[Unit]]) -> None:
    """Write the parts of the jobs that `corpus` holds completely, from its records."""
    items = {item.path: (job, item) for job in jobs for item in job.unit.items}
    pasts: dict[str, _Past] = defaultdict(_Past)
    for sample in corpus.samples():
        found = _owner(sample.source, items)
        if found is not None and _same(sample, found[1]):
            past = pasts[found[0].part.stem]
            past.samples.append(sample)
            past.seen.add(found[1].path)
    lenders = {j.unit.detect_on: j for j in jobs if isinstance(j.unit, Family)}
    for failure in read_failures(corpus.file(FAILURES_FILE)):
        found = _owner(failure.path, items)
        if failure.path in lenders:
            pasts[lenders[failure.path].part.stem].failures.append(failure)
        elif found is not None:
            past = pasts[found[0].part.stem]
            past.failures.append(failure)
            past.seen.add(found[1].path)
    boxes = read_boxes(corpus.file(BOXES_FILE))
    for job in jobs:
        past = pasts[job.part.stem]
        is_whole = past.seen == {item.path for item in job.unit.items}
        if past.is_sound and is_whole and not job.part.exists():
            _write(corpus, job, past, boxes)


def _owner(
    source: str, items: Mapping[str, tuple[Job[Unit], ImageFile | Video]]
) -> tuple[Job[Unit], ImageFile | Video] | None:
    """Return the job and item of a source: a file, or an image in a folder of frames."""
    return items.get(source) or items.get(PurePosixPath(source).parent.as_posix())


def _same(sample: Sample, item: ImageFile | Video) -> bool:
    return (sample.cls, sample.split, sample.group) == (item.cls, item.split, item.group)


def _write(corpus: Corpus, job: Job[Unit], past: _Past, boxes: Boxes) -> None:
    with PartWriter(job.part) as part:
        for sample in past.samples:
            value = corpus.value(sample)
            part.add(Record(sample if job.unit.keeps_index else sample._replace(index=None), value))
        for failure in past.failures:
            part.add(failure)
        videos = () if isinstance(job.unit, ImageBlock) else job.unit.videos
        for name in dict.fromkeys(name for video in videos for name in video.box_names):
            if name in boxes:
                part.add(VideoBoxes(name, boxes[name]))
