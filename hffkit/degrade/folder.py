"""Degrade folders: images become PNG files, whole videos become H.264."""

import hashlib
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hffkit.degrade.chain import check_for_images
from hffkit.degrade.rework import Treatment
from hffkit.degrade.videos import common_crf, video_treatment
from hffkit.errors import (
    ArgumentError,
    CorpusError,
    HffkitError,
    ImageError,
    StorageError,
    writing_to,
)
from hffkit.execution.jobs import Job, job_of, longest_first
from hffkit.execution.progress import Progress
from hffkit.execution.supervisor import run
from hffkit.execution.versions import LIBRARIES, versions
from hffkit.extraction.units import identity, weight
from hffkit.json_types import JsonObject
from hffkit.manifest.failures import Failure, damage_of
from hffkit.manifest.samples import json_line
from hffkit.manifest.seeds import rank
from hffkit.media.files import sha256_of
from hffkit.media.image import encode_png, pixels_sha256, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.media.kinds import is_video_file, misnamed
from hffkit.media.walk import MediaFile, Rest, walk
from hffkit.sources.ffpp_layout import SEQUENCES
from hffkit.sources.ffpp_tree import plain_quality
from hffkit.storage.corpus import FAILURES_FILE, MANIFEST_FILE
from hffkit.storage.parts import FileMade, PartWriter, read_part, remove
from hffkit.storage.staging import Partial, sync, write_bytes_durably, write_durably
from hffkit.wording import counted

ABOUT_FILE = "degrade.json"
_IMAGES_PER_UNIT = 64
_MOST_BYTES = (255, 4095)  # of a name and of a path, in most file systems and in Linux
_SPARE_BYTES = len(".01234567.tmp") - len(".mp4")  # more while a file is written


@dataclass(frozen=True, slots=True)
class FileSelection:
    """A selection of files in a folder."""

    root: Path
    quality: str | None  # of FaceForensics++ videos; None: all
    limit: int | None  # files, drawn by the treatment's seed; None: all
    accept_damaged: bool = False  # damaged images are degraded too


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """The contents of degrade.json: the command, and counts of a finished folder."""

    command: JsonObject  # all that decides the result, JSON values
    n_files: int
    failures: Mapping[str, int]  # by kind
    notes: tuple[str, ...] = ()  # on files that were not read

    @property
    def ops(self) -> tuple[str, ...]:
        """Names of the operations applied."""
        return tuple(self.command["ops"])

    def to_json(self) -> dict[str, object]:
        """Return the contents of degrade.json as JSON values."""
        return {
            **self.command,
            "n_files": self.n_files,
            "failures": dict(self.failures),
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Files:
    """A unit of work: several images or one video, by their paths below the root."""

    paths: tuple[str, ...]

    def singly(self) -> "list[Files]":
        """Return a unit for each file."""
        return [Files((path,)) for path in self.paths]


@dataclass(frozen=True, slots=True)
class FileWork:
    """The work on one unit: degrade its files and write them into the new tree."""

    root: Path
    target: Path
    treatment: Treatment
    accept_damaged: bool

    def __call__(self, unit: Files, part: PartWriter) -> None:
        """Write the unit's files, and to `part` their records or failures."""
        for path in unit.paths:
            try:
                is_video = is_video_file(self.root / path)
                made = self._video(path) if is_video else self._image(path, part)
            except (ArgumentError, StorageError):  # wrong for every file, or the disk is full
                raise
            except HffkitError as error:
                part.add(Failure("unreadable", path, None, str(error)))
                continue
            if made is None:
                continue
            part.add(FileMade(made))
            if why := misnamed(self.root / path):
                part.add(Failure("misnamed", path, None, why))
            n_read = made.get("n_read", made.get("n_frames", 0))
            if n_read < (n_claimed := made.get("n_claimed", 0)):
                reason = f"{n_read} of the {n_claimed} frames that its header claims"
                part.add(Failure("short-read", path, n_read, reason))

    def paths(self, unit: Files) -> Sequence[str]:
        """Return the files of the unit."""
        return unit.paths

    def _image(self, path: str, part: PartWriter) -> JsonObject | None:
        """Write a degraded image; None if it is damaged, which `part` records."""
        encoded = read_bytes(self.root / path)
        found = decode_file(encoded)
        if found.damage is not None:
            part.add(damage_of(path, None, found.damage, is_kept=self.accept_damaged))
            if not self.accept_damaged:
                return None
        treated = self.treatment(self.treatment.chain(), found.image, path)
        png = encode_png(treated.image)
        place = image_place(path)
        write_bytes_durably(self._make_room(place), png)
        return {
            "path": place,
            "source": path,
            "source_sha256": hashlib.sha256(encoded).hexdigest(),
            "sha256": hashlib.sha256(png).hexdigest(),
            "pixels_sha256": pixels_sha256(treated.image),
            "operations": list(treated.operations),
        }

    def _video(self, path: str) -> JsonObject:
        from hffkit.media.h264 import (
            Encoding,
            transcode,
        )  # late: loading FFmpeg takes as long as OpenCV

        treatment = video_treatment(self.treatment, path)
        place = video_place(path, common_crf(self.treatment))
        # A name of its own, because a worker taken for dead may still write the same video.
        temporary = self._make_room(place).with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            process = treatment if treatment.filters.steps else None
            encoding = Encoding(treatment.crf, treatment.gap, process, treatment.rate)
            found = transcode(self.root / path, temporary, encoding)
            with temporary.open("rb+") as file:
                sync(file)
            temporary.replace(self.target / place)
        finally:
            temporary.unlink(missing_ok=True)
        return {
            "path": place,
            "source": path,
            "source_sha256": sha256_of(self.root / path),
            "sha256": sha256_of(self.target / place),
            "n_frames": found.n_frames,
            "n_claimed": found.n_claimed,
            **({} if treatment.rate is None else {"n_read": found.n_read}),
            "operations": treatment.operations,
        }

    def _make_room(self, place: str) -> Path:
        """Create the folder of an output file, and return the path of the file."""
        path = self.target / place
        lengths = (len(os.fsencode(text)) + _SPARE_BYTES for text in (path.name, path))
        if any(length > most for length, most in zip(lengths, _MOST_BYTES, strict=True)):
            raise ImageError("the name of its copy would be too long for a file; shorten its own")
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


def image_place(path: str) -> str:
    """Return the output path of an image: its own, with the suffix of PNG."""
    return PurePosixPath(path).with_suffix(".png").as_posix()


def video_place(path: str, crf: int | None) -> str:
    """Return the output path of a video: its own, with the suffix of MP4.

    In FaceForensics++'s layout (.../raw/videos/000.mp4) the quality becomes that of `crf`, so that
    `build ff++` finds the result under the right quality. It stays if `crf` is None, drawn for each
    video: a family of videos must not be divided.
    """
    parts = list(PurePosixPath(path).with_suffix(".mp4").parts)
    if video_quality(path) is not None and crf is not None:
        parts[-3] = f"c{crf}" if crf else "raw"
    return PurePosixPath(*parts).as_posix()


def video_quality(path: str) -> str | None:
    """Return the quality of a video in FaceForensics++'s layout: .../c23/videos/000.mp4."""
    match = re.search(r"(?:^|/)(raw|c\d+)/videos/[^/]+$", path)
    return None if match is None else plain_quality(match[1])


def _is_mask(path: str) -> bool:
    return "/masks/videos/" in f"/{path}"


def degrade_folder(
    selection: FileSelection,
    out: Path,
    treatment: Treatment,
    about: JsonObject,
    *,
    n_workers: int,
    scheduler: str | None = None,
) -> FolderInfo:
    """Degrade every image or every video of a folder into the tree `out`.

    The folder holds images or videos, not both; masks of FaceForensics++ are left out. Operations
    on videos end in one h264 with one value. Beside the files, `out` holds
    manifest.jsonl, failures.jsonl and degrade.json with `about`, all options that decide the
    result. The other parameters are those of `degrade`.
    """
    root = selection.root
    if out.resolve().is_relative_to(root.resolve()):
        raise ArgumentError(f"`out` {out} lies inside {root} and would be read as well. Move it.")
    rest = Rest()
    files = _listed(selection, treatment, rest)
    if not files[0].is_video:
        check_for_images(treatment.chain())
    command = {
        "verb": "degrade",
        "src": str(root.resolve()),
        "quality": selection.quality,
        "size": treatment.size,
        "accept_damaged": selection.accept_damaged,
        "versions": versions(*LIBRARIES),
        **about,
    }
    with Partial(out, command) as partial:
        partial.make_product()
        work = FileWork(root, partial.product, treatment, selection.accept_damaged)
        jobs = _jobs(_units(files), root, partial)
        with Progress(len(files), unit="files", label="degrade") as progress:
            progress.step(sum(job.size for job in jobs if job.part.exists()))
            for done in run(longest_first(jobs), work, n_workers=n_workers, scheduler=scheduler):
                progress.step(done.size, done.failures)
        info = _describe(partial.product, jobs, FolderInfo(command, 0, {}, tuple(rest.notes())))
        if not info.n_files:
            raise CorpusError(
                f"{out}: no file could be degraded; {partial.product / FAILURES_FILE} has the "
                "reason for each input."
            )
        partial.publish()
    return info


def _jobs(units: Sequence[Files], root: Path, partial: Partial) -> list[Job[Files]]:
    """Return a job for each unit; parts of files that were altered since are removed."""
    jobs = [
        job_of(unit, partial.part(identity(unit, root)), len(unit.paths), weight(unit, root))
        for unit in units
    ]
    for job in jobs:
        if job.part.exists() and not _is_intact(job.part, partial.product):
            remove(job.part)
    return jobs


def _is_intact(part: Path, folder: Path) -> bool:
    """Test whether the files that a finished part describes are what was written."""
    made = (event.about for event in read_part(part) if isinstance(event, FileMade))
    found = ((folder / about["path"], about["sha256"]) for about in made)
    return all(path.is_file() and sha256_of(path) == digest for path, digest in found)


def _listed(selection: FileSelection, treatment: Treatment, rest: Rest) -> list[MediaFile]:
    root = selection.root
    # Sheets and maps that were drawn beside the two trees of FaceForensics++ are not its files.
    trees = tuple(name for name in SEQUENCES if (root / name).is_dir())
    found = sorted(walk(root, "", rest))
    listed = [file for file in found if not trees or file.path.startswith(trees)]
    wanted = None if selection.quality is None else plain_quality(selection.quality)
    files = [
        file
        for file in listed
        if not _is_mask(file.path) and wanted in (None, video_quality(file.path))
    ]
    kept = set(files)
    rest.unasked += [file.path for file in found if file not in kept]
    if wanted is not None and listed and not files:
        there = ", ".join(sorted({video_quality(file.path) or "none" for file in listed}))
        raise CorpusError(f"{root} holds no video of the `quality` {wanted}; found: {there}.")
    n_videos = sum(file.is_video for file in files)
    if not files:
        raise CorpusError(f"{root} is no corpus, and holds no image or video.")
    if 0 < n_videos < len(files):
        raise CorpusError(
            f"{root} holds {counted(n_videos, 'video')} and "
            f"{counted(len(files) - n_videos, 'image')}. Name a folder of "
            "one kind."
        )
    if selection.limit is not None:
        chosen = sorted(files, key=lambda file: rank(treatment.seed, "limit", file.path))
        files = sorted(chosen[: selection.limit])
    places: dict[str, str] = {}
    for path, _ in files:
        place = image_place(path)
        if n_videos:
            video_treatment(treatment, path)  # refuses what is not for videos
            place = video_place(path, common_crf(treatment))
        other = places.setdefault(place, path)
        if other != path:
            raise CorpusError(
                f"{root}: {other} and {path} would both become {place}. Select a `quality` of "
                "videos, rename one, or name a folder that holds only one."
            )
    return files


def _units(files: Sequence[MediaFile]) -> list[Files]:
    paths = [file.path for file in files]
    if files[0].is_video:
        return [Files((path,)) for path in paths]
    starts = range(0, len(paths), _IMAGES_PER_UNIT)
    return [Files(tuple(paths[start : start + _IMAGES_PER_UNIT])) for start in starts]


def _describe(folder: Path, jobs: Sequence[Job[Files]], planned: FolderInfo) -> FolderInfo:
    """Write manifest, failures and degrade.json; delete files that are in none of the parts."""
    known: set[Path] = set()
    failures: list[Failure] = []
    rows = folder / f"{MANIFEST_FILE}.tmp"
    with writing_to(rows), rows.open("w", encoding="utf-8") as lines:
        for event in (event for job in jobs for event in read_part(job.part)):
            if isinstance(event, FileMade):
                lines.write(json_line(event.about))
                known.add(folder / event.about["path"])
            elif isinstance(event, Failure):
                failures.append(event)
        sync(lines)
    for path in folder.rglob("*"):
        if path not in known and path != rows and path.is_file():  # its source was removed
            path.unlink()
    rows.replace(folder / MANIFEST_FILE)
    write_durably(folder / FAILURES_FILE, "".join(failure.to_line() for failure in failures))
    kinds = Counter(failure.kind for failure in failures)
    info = replace(planned, n_files=len(known), failures=dict(sorted(kinds.items())))
    write_durably(folder / ABOUT_FILE, json.dumps(info.to_json(), indent=1, sort_keys=True) + "\n")
    return info
