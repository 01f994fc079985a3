"""What explaining many faces gives: their files, the figures over all of them, and averages."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hffkit.arrays import Floats64
from hffkit.explain.attribution import Attribution, Attributor, Faithfulness
from hffkit.explain.images import overlay
from hffkit.explain.methods import heat_of
from hffkit.explain.regions import MeanShares
from hffkit.explain.sanity import CascadeStage, cascade
from hffkit.faces.landmarks import Predictor
from hffkit.manifest.classes import BINARY, FaceClass
from hffkit.media.image import Image, encode_png
from hffkit.reports.sheet import Tile, contact_sheet

MEANS_FILE = "average.npz"
N_SHOWN = 48  # faces on the page and the sheet; all have their files
_N_MEASURED = 4  # faces of each class whose maps are measured where averages are asked for
_N_SHAKEN = 4  # faces that weights are made random for
_N_BYTES = 80  # of a name within a file's, in UTF-8


@dataclass(frozen=True, slots=True)
class Shown:
    """Images of one face, or of one class's mean."""

    title: str
    caption: str
    groups: tuple[tuple[Tile, ...], ...]  # of each method; the sheet shows the first of each


@dataclass(slots=True)
class Average:
    """Faces of one class, added up: crops of one rule lie one on the other."""

    n_faces: int = 0
    pixels: Floats64 = field(default_factory=lambda: np.zeros(()))  # (S, S, 3)
    heats: dict[str, Floats64] = field(default_factory=dict)  # by name (S, S)

    def add(self, one: Attribution) -> None:
        """Take in one more face; each map counts as it is, within 0 to 1."""
        self.n_faces += 1
        self.pixels = self.pixels + one.face.image
        for name, heat in one.heats.items():
            self.heats[name] = self.heats.get(name, np.zeros(())) + heat

    def face(self) -> Image:
        """Return the mean face, (S, S, 3)."""
        return (self.pixels / self.n_faces).round().astype(np.uint8)

    def means(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the mean (S, S), 0 to 1, of each kind of map."""
        return {k: (total / self.n_faces).astype(np.float32) for k, total in self.heats.items()}


class Recorder:
    """Takes faces one after the other; writes their images to a folder."""

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
        """Begin with no face; see ExplainRequest for what is asked."""
        self._attributor, self._folder = attributor, folder
        self._averages: dict[str, Average] | None = {} if average else None
        self._steps, self._seed = steps, seed
        self._shares = None if predictor is None else MeanShares(predictor)
        self._shaken: list[Attribution] = []
        self._n_measured: Counter[str] = Counter()
        self._figures: list[dict[str, Faithfulness]] = []
        self._n_empty: Counter[str] = Counter()
        self.n_faces = 0
        self.faces: list[dict[str, Any]] = []  # as JSON values
        self.shown: list[Shown] = []
        self.averages: list[dict[str, Any]] = []  # as JSON values
        self.stages: tuple[CascadeStage, ...] = ()

    def take(self, one: Attribution) -> None:
        """Take in one face."""
        row = self._class_of(one)
        name = one.face.cls or row.name
        figures: dict[str, Faithfulness] = {}
        wants_more = self._averages is None or self._n_measured[name] < _N_MEASURED
        if self._steps and one.heats and wants_more:
            figures = self._attributor.faithfulness(one, steps=self._steps, seed=self._seed)
            self._figures.append(figures)
            self._n_measured[name] += 1
        if self._shares is not None:
            self._shares.add(name, one.face.image, one.heats)
        self.n_faces += 1
        self._n_empty.update(key for key, heat in one.heats.items() if not heat.any())
        if len(self._shaken) < _N_SHAKEN:
            self._shaken.append(one)
        if self._averages is None:
            self._write(one, row, figures)
        else:
            self._averages.setdefault(name, Average()).add(one)

    def _class_of(self, one: Attribution) -> FaceClass:
        classes = self._attributor.scorer.run.classes
        return classes[classes.names[one.class_id]]

    def _write(self, one: Attribution, row: FaceClass, figures: Mapping[str, Faithfulness]) -> None:
        run, number = self._attributor.scorer.run, len(self.faces)
        answer = "Fake" if row.is_fake else "Real"
        stem = one.face.stem
        arch = run.network if stem is None else f"{_plain(stem)}-{run.network}"
        images = self._attributor.tiles(one)
        files = {key: f"{number}-{arch}-{_plain(key)}-{answer}.png" for key in images}
        for key, tiles in images.items():
            (self._folder / files[key]).write_bytes(encode_png(_image(tiles)))
        self.faces.append(
            {
                "number": number,
                "name": one.face.name,
                "class": one.face.cls,
                "explained": row.name,
                "answer": answer,
                "probability": one.probability,
                "files": files,
                "faithfulness": {key: asdict(each) for key, each in figures.items()},
            }
        )
        if number < N_SHOWN:
            of_many = "" if run.classes == BINARY else f", {row.name}"
            title = f"#{number}: {answer}{of_many} ({one.probability:.5f})"
            known = "" if one.face.cls is None else f"true class {one.face.cls}: "
            groups = ((Tile("face", one.face.image),), *map(tuple, images.values()))
            self.shown.append(Shown(title, f"{known}{one.face.name}", groups))

    def finish(self, *, shakes: bool) -> None:
        """Write the averages; see what random weights do, if that is asked for."""
        arrays: dict[str, Any] = {}
        network = self._attributor.scorer.run.network
        for number, (name, average) in enumerate(sorted((self._averages or {}).items())):
            face, tiles, files = average.face(), list[Tile](), {}
            arch = f"average-{number}-{_plain(name)}-{network}"
            for key, mean in average.means().items():
                arrays[f"{name}/{key}"] = mean
                picture = overlay(face, mean / max(float(mean.max()), 1e-12))
                files[key] = f"{arch}-{_plain(key)}.png"
                (self._folder / files[key]).write_bytes(encode_png(picture))
                tiles.append(Tile(key, picture))
            row = {"class": name, "n_faces": average.n_faces, "files": files}
            self.averages.append(row)
            title = f"{name}: {average.n_faces} faces"
            groups = ((Tile("mean face", face),), *((tile,) for tile in tiles))
            self.shown.append(Shown(title, "", groups))
        if arrays:
            with (self._folder / MEANS_FILE).open("wb") as file:
                np.savez(file, **arrays)
        if shakes:
            self._shake()

    def _shake(self) -> None:
        attributor, some = self._attributor, self._shaken
        inputs = attributor.scorer.inputs([one.face.image for one in some])
        ids = np.array([one.class_id for one in some])

        def heats() -> dict[str, Tensor]:
            return {key: heat_of(maps) for key, maps in attributor.maps(inputs, ids).items()}

        self.stages = cascade(attributor.scorer.net, inputs, heats, seed=self._seed)

    def shaken(self) -> list[Shown]:
        """Return for each kind of map what random weights make of it, on the first face."""
        if not self.stages:
            return []
        one = self._shaken[0]
        image = one.face.image
        rows = []
        for key, heat in one.heats.items():
            tiles = [Tile("trained", overlay(image, heat))]
            for stage in self.stages:
                rho = stage.correlations[key][0]
                caption = f"to {stage.layer}: {'no map' if rho is None else f'{rho:.2f}'}"
                tiles.append(Tile(caption, overlay(image, stage.heats[key][0].cpu().numpy())))
            rows.append(Shown(key, one.face.name, (tuple(tiles),)))
        return rows

    def faithfulness(self) -> dict[str, dict[str, float]]:
        """Return the mean figures of each method, and of random order, over the measured faces."""
        names = self._figures[0] if self._figures else ()
        return {
            name: {
                "deletion": float(np.mean([each[name].deletion for each in self._figures])),
                "insertion": float(np.mean([each[name].insertion for each in self._figures])),
            }
            for name in names
        }

    def shares(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return the mean share of heat by class, kind of map and region, if known."""
        return {} if self._shares is None else self._shares.means()

    @property
    def n_measured(self) -> int:
        """Over how many faces `faithfulness` is a mean."""
        return len(self._figures)

    def sanity(self) -> list[dict[str, Any]]:
        """Return the mean correlations of each stage as JSON values; None where there is none."""
        return [
            {
                "layer": stage.layer,
                "n_layers": stage.n_layers,
                "correlations": {key: _mean(each) for key, each in stage.correlations.items()},
            }
            for stage in self.stages
        ]

    def notes(self) -> list[str]:
        """Return what a reader should know."""
        return [
            f"{key}: {n} of {self.n_faces} maps are empty: nothing there speaks for the class."
            for key, n in self._n_empty.items()
        ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _image(tiles: Sequence[Tile]) -> Image:
    """Return the image of a file: a sheet with labels where it is several."""
    if len(tiles) == 1:
        return tiles[0].image
    rows = [("", tiles[start : start + 4]) for start in range(0, len(tiles), 4)]
    return contact_sheet(rows, columns=4, tile=tiles[0].image.shape[0])


def _plain(name: str) -> str:
    """Return a name as part of a file's; two of them and a network's fit into 255 bytes."""
    plain = re.sub(r"[^\w.+=-]", "_", name).encode("utf-8", errors="ignore")
    return plain[:_N_BYTES].decode("utf-8", errors="ignore")
