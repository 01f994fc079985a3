"""Image files of explained faces, and figures over all of them."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from hffkit.arrays import Floats32, Floats64
from hffkit.explain.attribution import Attribution, Attributor
from hffkit.explain.faithfulness import Faithfulness
from hffkit.explain.images import overlay
from hffkit.explain.methods import heat_of
from hffkit.explain.regions import MeanShares, Shares
from hffkit.explain.result import AverageResult, FaceResult, SanityStage
from hffkit.explain.sanity import CascadeStage, cascade, correlation_text
from hffkit.faces.landmarks import Predictor
from hffkit.manifest.classes import BINARY, FaceClass
from hffkit.media.image import Image, encode_png
from hffkit.reports.gallery import Gallery
from hffkit.reports.sheet import Tile, contact_sheet
from hffkit.storage.staging import write_bytes_durably
from hffkit.wording import counted

MEANS_FILE = "average.npz"
N_SHOWN = 48  # faces on the page and the sheet; all of them have files
_FACE = "mean face"
_N_MEASURED = 4  # faces of each class that faithfulness is measured on, with averages
_N_SANITY = 4  # faces of the sanity check
_N_BYTES = 80  # of a name within a file name, in UTF-8


class Recorder:
    """Writes the images of explained faces to a folder and accumulates figures over the faces."""

    def __init__(
        self,
        attributor: Attributor,
        folder: Path,
        *,
        average: bool,
        steps: int,
        seed: int,
        predictor: Predictor | None = None,
    ) -> None:
        """Start without faces; ExplainRequest describes `average`, `steps` and `seed`."""
        self._attributor, self._folder = attributor, folder
        self._run = attributor.detector.run
        self._n_stages = len(attributor.stages)
        self._sums: dict[str, dict[str, Floats64]] | None = {} if average else None
        self._n_of: Counter[str] = Counter()  # faces of each class
        self._steps, self._seed = steps, seed
        self._shares = None if predictor is None else MeanShares(predictor)
        self._first: list[Attribution] = []
        self.measured: list[dict[str, Faithfulness]] = []  # of the faces it was measured on
        self._n_measured: Counter[str] = Counter()
        self._n_empty: Counter[str] = Counter()
        self.faces: list[FaceResult] = []
        self.averages: list[AverageResult] = []
        self.sanity: list[SanityStage] = []
        self.galleries: list[Gallery] = []  # of the page, for each face or class
        self.sheet: list[Gallery] = []  # the same with one image for each method
        self.sanity_galleries: list[Gallery] = []  # for each map

    def add(self, one: Attribution) -> None:
        """Write the images of one face, or add its maps to the means of its class."""
        row = self._run.classes[self._run.classes.names[one.class_id]]
        cls = one.face.cls or row.name
        measured: dict[str, Faithfulness] = {}
        wants_more = self._sums is None or self._n_measured[cls] < _N_MEASURED
        if self._steps and one.heats and wants_more:
            measured = self._attributor.faithfulness(one, steps=self._steps, seed=self._seed)
            self.measured.append(measured)
            self._n_measured[cls] += 1
        if self._shares is not None:
            self._shares.add(cls, one.face.image, one.heats)
        self._n_of[cls] += 1
        self._n_empty.update(name for name, heat in one.heats.items() if not heat.any())
        if len(self._first) < _N_SANITY:
            self._first.append(one)
        if self._sums is None:
            self._write(one, row, measured)
        else:
            sums = self._sums.setdefault(cls, {})
            for name, values in {_FACE: one.face.image, **one.heats}.items():
                sums[name] = sums.get(name, 0.0) + np.asarray(values, np.float64)

    def _write(self, one: Attribution, row: FaceClass, measured: dict[str, Faithfulness]) -> None:
        number, face = len(self.faces), one.face
        answer: Literal["Fake", "Real"] = "Fake" if row.is_fake else "Real"
        stem = self._run.network
        if face.stem is not None:
            stem = f"{_plain(face.stem)}-{stem}"
        tiles = self._attributor.tiles(one)
        files = {name: f"{number}-{stem}-{_plain(name)}-{answer}.png" for name in tiles}
        for name, some in tiles.items():
            write_bytes_durably(self._folder / files[name], encode_png(self._image(some)))
        self.faces.append(
            FaceResult(
                number, face.name, face.cls, row.name, answer, one.probability, files, measured
            )
        )
        if number < N_SHOWN:
            cls = "" if self._run.classes == BINARY else f", {row.name}"
            title = f"#{number}: {answer}{cls} ({one.probability:.5f})"
            known = "" if face.cls is None else f"true class {face.cls}: "
            self._show(title, f"{known}{face.name}", [[Tile("face", face.image)], *tiles.values()])

    def _image(self, tiles: Sequence[Tile]) -> Image:
        """Return the image of a file: several tiles become a labelled sheet."""
        if len(tiles) == 1:
            return tiles[0].image
        n = 4 if self._n_stages == 1 else self._n_stages
        rows = [("", tiles[start : start + n]) for start in range(0, len(tiles), n)]
        return contact_sheet(rows, columns=n, tile=tiles[0].image.shape[0])

    def _show(self, title: str, caption: str, tiles: Iterable[Sequence[Tile]]) -> None:
        """Add images to the page, and the first of each sequence to the sheet."""
        shown = tuple(tiles)
        self.galleries.append(Gallery(title, caption, tuple(t for some in shown for t in some)))
        n = self._n_stages
        self.sheet.append(Gallery(title, caption, tuple(t for some in shown for t in some[:n])))

    def write_averages(self) -> None:
        """Write the mean maps of each class."""
        arrays: dict[str, Floats32] = {}
        for number, (cls, sums) in enumerate(sorted((self._sums or {}).items())):
            n_faces = self._n_of[cls]
            face = (sums.pop(_FACE) / n_faces).round().astype(np.uint8)
            tiles, files = [Tile(_FACE, face)], {}
            for name, total in sums.items():
                arrays[f"{cls}/{name}"] = mean = (total / n_faces).astype(np.float32)
                image = overlay(face, mean / max(float(mean.max()), 1e-12))
                stem = f"average-{number}-{_plain(cls)}-{self._run.network}"
                files[name] = f"{stem}-{_plain(name)}.png"
                write_bytes_durably(self._folder / files[name], encode_png(image))
                tiles.append(Tile(name, image))
            self.averages.append(AverageResult(cls, n_faces, files))
            self._show(f"{cls}: {counted(n_faces, 'face')}", "", [[tile] for tile in tiles])
        if arrays:
            file = io.BytesIO()
            np.savez(file, **arrays)  # type: ignore[arg-type]  # a name may be `allow_pickle`
            write_bytes_durably(self._folder / MEANS_FILE, file.getvalue())

    def check_sanity(self) -> None:
        """Compare the maps of the first faces with those of a network of random weights."""
        attributor, some = self._attributor, self._first
        inputs = attributor.detector.inputs([one.face.image for one in some])
        ids = np.array([one.class_id for one in some])

        def heats() -> dict[str, Tensor]:
            return {name: heat_of(maps) for name, maps in attributor.maps(inputs, ids).items()}

        stages = cascade(attributor.detector.net, inputs, heats, seed=self._seed)
        for stage in stages:
            means = {name: _mean(each) for name, each in stage.correlations.items()}
            self.sanity.append(SanityStage(stage.layer, stage.n_layers, means))
        self.sanity_galleries = [_cascade_gallery(name, some[0], stages) for name in some[0].heats]

    def faithfulness(self) -> dict[str, Faithfulness]:
        """Return the mean areas of each map and of random order over the measured faces."""
        return {
            name: Faithfulness(
                float(np.mean([each[name].deletion for each in self.measured])),
                float(np.mean([each[name].insertion for each in self.measured])),
            )
            for name in (self.measured[0] if self.measured else ())
        }

    @property
    def n_faces(self) -> int:
        """Number of all faces."""
        return self._n_of.total()

    def shares(self) -> dict[str, dict[str, Shares]]:
        """Return the mean shares of heat by class and map; empty without landmarks."""
        return {} if self._shares is None else self._shares.means()

    def notes(self) -> list[str]:
        """Return the counts of empty maps as sentences."""
        return [
            f"{name}: {n} of {self.n_faces} maps are empty: no evidence for the class."
            for name, n in self._n_empty.items()
        ]


def _cascade_gallery(name: str, one: Attribution, stages: Sequence[CascadeStage]) -> Gallery:
    """Return one map of the first face at each stage of randomisation."""
    tiles = [Tile("trained", overlay(one.face.image, one.heats[name]))]
    for stage in stages:
        rho = stage.correlations[name][0]
        caption = f"to {stage.layer}: {correlation_text(rho)}"
        heat = stage.heats[name][0].cpu().numpy()
        tiles.append(Tile(caption, overlay(one.face.image, heat)))
    return Gallery(name, one.face.name, tuple(tiles))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _plain(name: str) -> str:
    """Return a name for use in a file name, cut so that two of them fit into its 255 bytes."""
    plain = re.sub(r"[^\w.+=-]", "_", name).encode("utf-8", errors="ignore")
    return plain[:_N_BYTES].decode("utf-8", errors="ignore")
