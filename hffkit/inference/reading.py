"""Read files of images and videos in another process, which may hang or crash in a decoder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hffkit.degrade.chain import Chain
from hffkit.errors import ImageError, VideoError
from hffkit.execution.guarded import Lost, guarded
from hffkit.execution.watchdog import limit_of_file
from hffkit.faces.search import FaceSearch, FrameCounts, faces_in
from hffkit.inference.intake import Intake
from hffkit.inference.recheck import with_rechecks
from hffkit.manifest.samples import Box
from hffkit.media.files import sha256_of
from hffkit.media.image import Image
from hffkit.media.kinds import misnamed


@dataclass(frozen=True, slots=True)
class ReadFace:
    """A face in a file."""

    frame: int | None  # number in the video, from 0
    box: Box | None  # None for a whole image
    images: Sequence[Image]  # the face, and what each recheck makes of it, as the detector takes it


@dataclass(slots=True)
class ReadFile:
    """The faces of a file, the largest of each frame first."""

    faces: list[ReadFace] = field(default_factory=list)
    counts: FrameCounts = field(default_factory=FrameCounts)
    sha256: str = ""  # of the file, if it is wanted
    misnamed: str = ""  # how its content differs from its name
    problem: str | None = None  # reason why nothing of it can be read


@dataclass(frozen=True, slots=True)
class FaceReader:
    """Finds the faces of a file, and makes of each what a detector takes."""

    search: FaceSearch
    intake: Intake
    rechecks: Sequence[Chain] = ()
    hashes: bool = False  # whole files, to compare with those of a training

    def __call__(self, file: Path) -> ReadFile:
        """Read a file."""
        found = ReadFile()
        try:
            for face in faces_in(file, self.search, found.counts):
                # Reduced at once, because a crop keeps the whole frame that it was cut from.
                images = [self.intake.reduced(each) for each in self._images(face.image)]
                found.faces.append(ReadFace(face.frame, face.box, images))
            if self.hashes:
                found.sha256 = sha256_of(file)
        except (ImageError, VideoError) as error:
            return ReadFile(problem=f"unreadable: {error}")
        except OSError as error:  # it could be read before
            return ReadFile(problem=f"unreadable: {error.strerror}")
        found.misnamed = misnamed(file)
        return found

    def _images(self, image: Image) -> Iterator[Image]:
        return with_rechecks(image, self.rechecks)


def read_files(files: Sequence[Path], reader: FaceReader) -> Iterator[ReadFile]:
    """Yield what `reader` finds in each file, in order; it has a limited time for each."""
    for found in guarded(reader, files, limit_of_file):
        yield ReadFile(problem=f"unreadable: {found.reason}") if isinstance(found, Lost) else found
