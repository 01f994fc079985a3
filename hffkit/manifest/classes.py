"""Class tables: which id and which polarity a class name has."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hffkit.errors import ManifestError, UnknownNameError

LabelKind = Literal["multi", "binary"]

BINARY_FAKE = 0
BINARY_REAL = 1


@dataclass(frozen=True, slots=True)
class FaceClass:
    """One class: its label in a Datum, its name, and whether its faces are forged."""

    id: int
    name: str
    is_fake: bool

    @property
    def kind(self) -> str:
        """The polarity as a word, fake or real."""
        return "fake" if self.is_fake else "real"


@dataclass(frozen=True, slots=True)
class ClassTable:
    """An ordered table of classes; ids and names occur once."""

    classes: tuple[FaceClass, ...]

    def __post_init__(self) -> None:
        for what, values in (
            ("id", [str(face_class.id) for face_class in self.classes]),
            ("name", [face_class.name for face_class in self.classes]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ManifestError(f"Class {what} {twice[0]} occurs twice in one class table.")

    def __iter__(self) -> Iterator[FaceClass]:
        return iter(self.classes)

    def __getitem__(self, name: str) -> FaceClass:
        """Return the class called `name`."""
        for face_class in self.classes:
            if face_class.name == name:
                return face_class
        raise UnknownNameError("class", name, self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names in table order."""
        return tuple(face_class.name for face_class in self.classes)

    def label(self, name: str, labels: LabelKind) -> int:
        """Return the Datum label of a class: its id, or 0 for fake and 1 for real if binary."""
        face_class = self[name]
        if labels == "multi":
            return face_class.id
        return BINARY_FAKE if face_class.is_fake else BINARY_REAL

    def renumbered(self) -> "ClassTable":
        """Return the table with ids from 0 on, in its order: the outputs of a network."""
        rows = [FaceClass(i, row.name, row.is_fake) for i, row in enumerate(self.classes)]
        return ClassTable(tuple(rows))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the table as JSON values; `from_json` reads them back."""
        return [asdict(face_class) for face_class in self.classes]

    @classmethod
    def from_json(cls, rows: list[dict[str, Any]]) -> "ClassTable":
        """Return the table that `to_json` wrote."""
        return cls(tuple(FaceClass(**row) for row in rows))

    def only(self, names: Iterable[str]) -> "ClassTable":
        """Return the table cut to `names`; the ids stay."""
        wanted = {self[name].name for name in names}
        return ClassTable(tuple(row for row in self.classes if row.name in wanted))


def numbered(fake: Iterable[str], real: Iterable[str]) -> ClassTable:
    """Return a table of the fake classes, then the real ones, numbered from 0.

    With one of each this is the polarity of the AMTENnet authors' files: fake 0, real 1.
    """
    rows = [(name, True) for name in fake] + [(name, False) for name in real]
    return ClassTable(tuple(FaceClass(i, name, is_fake) for i, (name, is_fake) in enumerate(rows)))


BINARY = numbered(fake=["fake"], real=["real"])

# Order of Tables III and IV of the AMTENnet paper: the three real classes come first.
HFF_8 = ClassTable(
    (
        FaceClass(0, "CelebA", is_fake=False),
        FaceClass(1, "CelebA-HQ", is_fake=False),
        FaceClass(2, "YouTube-Frame", is_fake=False),
        FaceClass(3, "Glow", is_fake=True),
        FaceClass(4, "StarGAN", is_fake=True),
        FaceClass(5, "PGGAN", is_fake=True),
        FaceClass(6, "StyleGAN", is_fake=True),
        FaceClass(7, "Face2Face", is_fake=True),
    )
)

# The paper's five classes are ids 0 to 4; what FaceForensics++ gained later follows.
FFPP = ClassTable(
    (
        FaceClass(0, "Deepfakes", is_fake=True),
        FaceClass(1, "Face2Face", is_fake=True),
        FaceClass(2, "FaceSwap", is_fake=True),
        FaceClass(3, "NeuralTextures", is_fake=True),
        FaceClass(4, "Real", is_fake=False),
        FaceClass(5, "FaceShifter", is_fake=True),
        FaceClass(6, "DeepFakeDetection", is_fake=True),
        FaceClass(7, "Real-actors", is_fake=False),
    )
)
