"""Tables and the HTML page of `hffkit predict`: boxed faces, and a video's scores over time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from hffkit.arrays import Floats64
from hffkit.errors import ImageError, VideoError
from hffkit.inference.predict import FacePrediction, FilePrediction, Prediction, largest_faces
from hffkit.manifest.samples import Box
from hffkit.media.image import Image, read_bytes
from hffkit.media.image_files import decode_file
from hffkit.media.kinds import is_video_file
from hffkit.media.video import open_clip
from hffkit.reports.colours import FAKE, REAL, UNDECIDED, rgb
from hffkit.reports.gallery import Gallery, GallerySection, render_gallery
from hffkit.reports.html import Figure, reduced
from hffkit.reports.sheet import Tile
from hffkit.reports.text_table import Table

N_SHOWN = 100  # files with images on the page
_SIDE = 320  # px of an image on the page
_COLOURS = {"fake": rgb(FAKE), "real": rgb(REAL), "undecided": rgb(UNDECIDED)}


def files_table(found: Prediction) -> Table:
    """Return a row for each file with a score."""
    rows = []
    for file in found.files:
        if file.score is None or file.fake_share is None:
            continue
        has_frames = file.n_frames + file.n_missing > 1
        share = f"{100 * file.fake_share:.0f} % of {file.n_frames}" if has_frames else "-"
        score = f"{file.score:.4f}"
        calibrated = [] if file.calibrated is None else [f"{file.calibrated:.4f}"]
        row = (file.path, file.kind or "", score, *calibrated, str(file.n_faces), share)
        rows.append(row)
    has_temperature = found.decision is not None and found.decision.temperature is not None
    more = ("calibrated",) if has_temperature else ()
    return Table(("file", "prediction", "score", *more, "faces", "frames fake"), tuple(rows))


def faces_table(found: Prediction) -> Table:
    """Return a row for each face, in the order of files, frames and sizes."""
    rows = tuple(
        (
            face.path,
            "-" if face.frame is None else str(face.frame),
            "-" if face.box is None else " ".join(map(str, face.box)),
            face.cls,
            f"{face.score:.4f}",
        )
        for face in found.faces
    )
    return Table(("file", "frame", "x y size", "class", "score"), rows, left=(0, 3))


def page_of(run: Path, found: Prediction) -> str:
    """Return the page as HTML. It reads the files again, for their images.

    Of a video it shows the frames whose largest face has the highest and the lowest score.
    """
    scored = [file for file in found.files if file.score is not None]
    notes = [*found.basis]
    if len(scored) > N_SHOWN:
        notes.append(f"Images are shown of the first {N_SHOWN} of {len(scored)} files.")
    faces: dict[str, list[FacePrediction]] = {}
    for face in found.faces:
        faces.setdefault(face.path, []).append(face)
    galleries = tuple(_gallery(file, faces[file.path], found) for file in scored[:N_SHOWN])
    value = "the probability of fake" if found.is_probability else "a decision value mapped to 0..1"
    side = "" if found.decision else "; from 0.5 on the prediction is fake"
    caption = f"The score is {value}{side}."
    sections = [GallerySection("Files", caption, files_table(found), ())]
    if galleries:
        about = "Whole images were scored, as face crops."
        if any(face.box is not None for face in found.faces):
            about = "Boxes are the crops that were scored; the largest face of an image counts."
        sections.append(GallerySection("Faces", about, None, galleries))
    if found.problems:
        table = Table(("file", "problem"), tuple(found.problems), left=(0, 1))
        sections.append(GallerySection("Problems", "", table, ()))
    counts = ((kind, str(n)) for kind, n in found.counts.items())
    facts = (("run", str(run)), *counts)
    return render_gallery(f"hffkit predict: {run}", facts, notes, sections)


def _gallery(file: FilePrediction, faces: Sequence[FacePrediction], found: Prediction) -> Gallery:
    tiles = tuple(_tiles(Path(file.path), faces, found))
    figures = (_over_time(faces, found.limits),) if file.n_frames > 1 else ()
    title = f"{file.kind}, score {file.score or 0.0:.4f}"
    return Gallery(file.path, title, tiles, figures, _SIDE)


def _tiles(path: Path, faces: Sequence[FacePrediction], found: Prediction) -> Iterator[Tile]:
    """Yield the boxed image, or two frames of a video; nothing of files that have changed."""
    ranked = sorted(largest_faces(faces), key=lambda face: face.score)
    shown = list(dict.fromkeys((ranked[-1].frame, ranked[0].frame)))
    images = dict(_images(path, [number for number in shown if number is not None]))
    for number in shown:
        if number in images:
            title = "" if number is None else f"frame {number}: "
            of_frame = [face for face in faces if face.frame == number]
            caption = title + ", ".join(f"{face.score:.4f}" for face in of_frame)
            boxes = [(face.box, found.kind_of(face.score)) for face in of_frame]
            yield Tile(caption, _boxed(images[number], boxes))


def _images(path: Path, numbers: Sequence[int]) -> Iterator[tuple[int | None, Image]]:
    """Yield the frames of a video by number, or an image as None."""
    try:
        if not is_video_file(path):
            yield None, decode_file(read_bytes(path)).image
            return
        for frame in open_clip(path).frames(frozenset(numbers), lambda *_: None):
            yield frame.number, frame.image
    except (ImageError, VideoError):
        return


def _boxed(image: Image, boxes: Sequence[tuple[Box | None, str]]) -> Image:
    """Return an image of at most `_SIDE` px with the boxes of its faces, coloured by kind."""
    small = reduced(image, _SIDE).copy()
    scale = max(small.shape) / max(image.shape)
    for box, kind in boxes:
        if box is not None:
            x, y, side = (round(value * scale) for value in box)
            cv2.rectangle(small, (x, y), (x + side - 1, y + side - 1), _COLOURS[kind], 2)
    return small


def _over_time(faces: Sequence[FacePrediction], limits: Sequence[float]) -> Figure:
    from hffkit.reports.plots import scores_over_time  # loads matplotlib

    frames = np.array([face.frame for face in faces], np.int64)
    scores: Floats64 = np.array([face.score for face in faces], np.float64)
    is_largest = np.append(True, frames[1:] != frames[:-1])  # the first of a frame
    text = "The largest face of each frame; other faces are crosses."
    return Figure(
        "Score over time", text, text, scores_over_time(frames, scores, is_largest, limits)
    )
