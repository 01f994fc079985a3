"""`hffkit degrade` on folders: images to PNG files, whole videos to H.264."""

import hashlib
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hffkit.degrade.rework import Treatment
from hffkit.errors import ArgumentError, CorpusError, HffkitError, ImageError, StorageError
from hffkit.execution.progress import Progress
from hffkit.execution.supervisor import Job, longest_first, run
from hffkit.execution.versions import LIBRARIES, versions
from hffkit.extraction.units import identity, weight
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import json_line, printable
from hffkit.manifest.seeds import rank
from hffkit.media.files import is_video, walk
from hffkit.media.image import decode, encode_png, pixels_sha256, read_bytes
from hffkit.sources.ffpp_tree import plain_quality
from hffkit.storage.corpus import FAILURES_FILE, MANIFEST_FILE
from hffkit.storage.parts import FileMade, PartWriter, read_part
from hffkit.storage.staging import Partial, write_bytes_durably, write_durably

ABOUT_FILE = "degrade.json"
_IMAGES_PER_UNIT = 64


@dataclass(frozen=True, slots=True)
class FileSelection:
    """Which files of a folder are treated."""

    root: Path
    quality: str | None  # of FaceForensics++ videos
    limit: int | None  # files, drawn by the treatment's seed


@dataclass(frozen=True, slots=True)
class Files:
    """A unit of work: images, or one video; paths relative to the root."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileWork:
    """Treats files and writes them under their place in the new tree; what workers are sent."""

    root: Path
    target: Path
    treatment: Treatment

    def __call__(self, unit: Files, part: PartWriter) -> None:
        """Write the unit's files, and to `part` what they are or why they are not."""
        for path in unit.paths:
            try:
                made = self._video(path) if is_video(path) else self._image(path)
            except (ArgumentError, StorageError):  # wrong for every file, or no room for it
                raise
            except HffkitError as error:
                part.add(Failure("unreadable", path, None, str(error)))
                continue
            part.add(FileMade(made))
            n_frames, n_claimed = made.get("n_frames", 0), made.get("n_claimed", 0)
            if n_frames < n_claimed:
                reason = f"{n_frames} frames of the {n_claimed} that it claims"
                part.add(Failure("short-read", path, n_frames, reason))

    def paths(self, unit: Files) -> Sequence[str]:
        """Return the files of the unit."""
        return unit.paths

    def _image(self, path: str) -> dict[str, Any]:
        if printable(path) != path:
            raise ImageError("the file's name is not UTF-8")
        encoded = read_bytes(self.root / path)
        treated = self.treatment(self.treatment.chain(), decode(encoded), path)
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

    def _video(self, path: str) -> dict[str, Any]:
        from hffkit.media.h264 import transcode  # late, as in hffkit.degrade.compression

        crf = crf_of(self.treatment)
        place = video_place(path, crf)
        # Of its own: a worker that was taken for dead may still be writing the same video.
        temporary = self._make_room(place).with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            found = transcode(self.root / path, temporary, crf=crf)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(self.target / place)
        finally:
            temporary.unlink(missing_ok=True)
        return {
            "path": place,
            "source": path,
            "source_sha256": _file_sha256(self.root / path),
            "sha256": _file_sha256(self.target / place),
            **asdict(found),
            "operations": [{"op": f"h264:{crf}", "crf": crf, "in_table_ix": False}],
        }

    def _make_room(self, place: str) -> Path:
        path = self.target / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}.") from None
        return path


def image_place(path: str) -> str:
    """Return where an image goes: its own place, as PNG."""
    return PurePosixPath(path).with_suffix(".png").as_posix()


def video_place(path: str, crf: int) -> str:
    """Return where a video goes: its own place, as MP4.

    In FaceForensics++'s layout, .../raw/videos/000.mp4, the quality becomes that of `crf`, so that
    `build ff++` finds what was made, and under a name that is true.
    """
    parts = list(PurePosixPath(path).with_suffix(".mp4").parts)
    if quality_of(path) is not None:
        parts[-3] = f"c{crf}" if crf else "raw"
    return PurePosixPath(*parts).as_posix()


def quality_of(path: str) -> str | None:
    """Return the quality that FaceForensics++'s layout gives a video: .../c23/videos/000.mp4."""
    match = re.search(r"(?:^|/)(raw|c\d+)/videos/[^/]+$", path)
    return None if match is None else plain_quality(match[1])


def _is_mask(path: str) -> bool:
    return "/masks/videos/" in f"/{path}"


def degrade_folder(
    selection: FileSelection,
    out: Path,
    treatment: Treatment,
    about: dict[str, Any],
    *,
    n_workers: int,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Treat every image, or every video, of a folder; write the tree `out` and describe it.

    Beside the files lie manifest.jsonl, failures.jsonl and degrade.json, which is returned.

    Parameters
    ----------
    selection : FileSelection
        A folder of images or of videos, not both, and what to take of it. The masks of
        FaceForensics++ are left out.
    out : Path
        The folder to write; it must not exist. Running the same command again goes on with it.
    treatment : Treatment
        What to do. Videos take one h264 operation of one value and nothing else.
    about : dict
        What decides the result, JSON values.
    n_workers : int
        Processes.
    scheduler : str, optional
        Of a Dask cluster that does the work instead.
    """
    root = selection.root
    if out.resolve().is_relative_to(root.resolve()):
        raise ArgumentError(f"{out} lies inside {root}: it would be read as well. Move --out.")
    paths = _listed(selection, treatment)
    units = _units(paths)
    command = {
        "verb": "degrade",
        "src": str(root.resolve()),
        "quality": selection.quality,
        "size": treatment.size,
        "versions": versions(*LIBRARIES),
        **about,
    }
    with Partial(out, command) as partial:
        partial.product.mkdir(exist_ok=True)
        work = FileWork(root, partial.product, treatment)
        jobs = [Job(unit, partial.part(identity(unit, root)), len(unit.paths)) for unit in units]
        with Progress(len(paths), unit="files", label="degrade") as progress:
            progress.step(sum(job.size for job in jobs if job.part.exists()))
            weights = {job.part: weight(job.unit, root) for job in jobs}
            ordered = longest_first(jobs, weights)
            for done in run(ordered, work, n_workers=n_workers, scheduler=scheduler):
                progress.step(done.size, done.failures)
        found = _describe(partial.product, jobs, command)
        if not found["n_files"]:
            raise CorpusError(
                f"{out}: not one file came of it; {partial.product / FAILURES_FILE} says why for "
                "each input."
            )
        partial.publish()
    return found


def crf_of(treatment: Treatment) -> int:
    """Return the rate factor at which whole videos are written again.

    Raises
    ------
    ArgumentError
        If anything but one h264 operation of one value is asked for.
    """
    steps = treatment.chain().steps
    if len(steps) != 1 or steps[0].operation.code != "h264" or steps[0].value is None:
        raise ArgumentError(
            "Whole videos take one --op h264:CRF, such as h264:40. Other operations are for "
            "images: build a corpus first."
        )
    if treatment.size is not None:
        raise ArgumentError("--size is for images: whole videos keep theirs.")
    return int(steps[0].value)


def _listed(selection: FileSelection, treatment: Treatment) -> list[str]:
    root = selection.root
    paths = [path for path in walk(root) if not _is_mask(path)]
    if selection.quality is not None:
        wanted = plain_quality(selection.quality)
        paths = [path for path in paths if quality_of(path) == wanted]
    n_videos = sum(map(is_video, paths))
    if not paths:
        raise CorpusError(f"{root}: no corpus, and no image or video in it.")
    if 0 < n_videos < len(paths):
        raise CorpusError(
            f"{root}: holds {n_videos} videos and {len(paths) - n_videos} images. Name a folder "
            "of one kind."
        )
    if selection.limit is not None:
        chosen = sorted(paths, key=lambda path: rank(treatment.seed, "limit", path))
        paths = sorted(chosen[: selection.limit])
    crf = crf_of(treatment) if n_videos else 0
    places: dict[str, str] = {}
    for path in paths:
        place = video_place(path, crf) if n_videos else image_place(path)
        other = places.setdefault(place, path)
        if other != path:
            raise CorpusError(
                f"{root}: {other} and {path} would both become {place}. Say which --quality of "
                "videos, rename one, or name a folder that holds one of them."
            )
    return paths


def _units(paths: Sequence[str]) -> list[Files]:
    if is_video(paths[0]):
        return [Files((path,)) for path in paths]
    starts = range(0, len(paths), _IMAGES_PER_UNIT)
    return [Files(tuple(paths[start : start + _IMAGES_PER_UNIT])) for start in starts]


def _describe(folder: Path, jobs: Sequence[Job[Files]], command: dict[str, Any]) -> dict[str, Any]:
    """Write what is known of the files beside them; a file that nothing is known of goes."""
    known: set[Path] = set()
    failures: list[Failure] = []
    rows = folder / f"{MANIFEST_FILE}.tmp"
    try:
        with rows.open("w", encoding="utf-8") as lines:
            for event in (event for job in jobs for event in read_part(job.part)):
                if isinstance(event, FileMade):
                    lines.write(json_line(event.about))
                    known.add(folder / event.about["path"])
                elif isinstance(event, Failure):
                    failures.append(event)
            lines.flush()
            os.fsync(lines.fileno())
    except OSError as error:
        raise StorageError(f"{rows}: cannot be written: {error.strerror}.") from None
    for path in folder.rglob("*"):
        if path not in known and path != rows and path.is_file():  # of a source that has gone
            path.unlink()
    rows.replace(folder / MANIFEST_FILE)
    write_durably(folder / FAILURES_FILE, "".join(failure.to_line() for failure in failures))
    found = {
        **command,
        "n_files": len(known),
        "failures": dict(sorted(Counter(failure.kind for failure in failures).items())),
    }
    write_durably(folder / ABOUT_FILE, json.dumps(found, indent=1, sort_keys=True) + "\n")
    return found


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
