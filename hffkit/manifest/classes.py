"""Class tables: the id of each class, and whether its faces are real or fake."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from hffkit.errors import ManifestError, UnknownNameError
from hffkit.fields import Fields

LabelKind = Literal["multi", "binary"]

BINARY_FAKE = 0
BINARY_REAL = 1
MIN_LABEL, MAX_LABEL = -(2**31), 2**31 - 1  # of a Datum


@dataclass(frozen=True, slots=True)
class FaceClass:
    """A class: its label in a Datum, its name, and whether its faces are fake."""

    id: int
    name: str
    is_fake: bool

    @property
    def kind(self) -> str:
        """The polarity as a word, fake or real."""
        return "fake" if self.is_fake else "real"


_FIELDS = [each.name for each in fields(FaceClass)]


@dataclass(frozen=True, slots=True)
class ClassTable:
    """An ordered table of classes with unique ids and unique names."""

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

    def called(self, name: str) -> FaceClass:
        """Return the class of a name, in capitals or not where that is unambiguous."""
        alike = [row for row in self.classes if row.name.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else self[name]

    def label(self, name: str, labels: LabelKind) -> int:
        """Return the Datum label of a class: its id, or 0 for fake and 1 for real if binary."""
        face_class = self[name]
        if labels == "multi":
            return face_class.id
        return BINARY_FAKE if face_class.is_fake else BINARY_REAL

    def renumbered(self) -> "ClassTable":
        """Return the table with ids from 0 in table order, as network outputs are numbered."""
        return ClassTable(tuple(replace(row, id=i) for i, row in enumerate(self.classes)))

    def to_json(self) -> list[dict[str, object]]:
        """Return the table as JSON values."""
        return [asdict(face_class) for face_class in self.classes]

    @classmethod
    def from_json(cls, rows: Any, where: str = "a class table") -> "ClassTable":
        """Build a table from the values that `to_json` returned.

        Raises
        ------
        ManifestError
            If they are anything else; the message begins with `where`.
        """
        found = Fields({"classes": rows}, where, ManifestError).rows("classes")
        for row in found:
            row.check_known(_FIELDS)
        return cls(
            tuple(
                FaceClass(
                    row.whole("id", MIN_LABEL, MAX_LABEL),
                    row.take("name", str),
                    row.take("is_fake", bool),
                )
                for row in found
            )
        )

    def only(self, names: Iterable[str]) -> "ClassTable":
        """Return the table of the classes `names` alone, with unchanged ids."""
        wanted = {self[name].name for name in names}
        return ClassTable(tuple(row for row in self.classes if row.name in wanted))


def numbered(fake: Iterable[str], real: Iterable[str]) -> ClassTable:
    """Build a table of the fake classes, then the real ones, numbered from 0.

    With one class of each, fake is 0 and real is 1, as in the files of AMTENnet's authors.
    """
    rows = [(name, True) for name in fake] + [(name, False) for name in real]
    return ClassTable(tuple(FaceClass(i, name, is_fake) for i, (name, is_fake) in enumerate(rows)))


def joined(tables: Iterable[ClassTable]) -> ClassTable:
    """Return the table of all classes of some tables that agree on which of them are fake.

    Classes keep their ids unless an id is of two classes, or a class has two: then all get new ones
    from `numbered`, in alphabetical order. The order of the tables never matters.
    """
    rows = sorted({row for table in tables for row in table}, key=lambda row: (row.id, row.name))
    names = sorted({row.name for row in rows})
    if len({row.id for row in rows}) == len(names) == len(rows):
        return ClassTable(tuple(rows))
    fakes = {row.name for row in rows if row.is_fake}
    return numbered((n for n in names if n in fakes), (n for n in names if n not in fakes))


BINARY = numbered(fake=["fake"], real=["real"])

# In the order of Tables III and IV of the AMTENnet paper: the real classes come first.
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

# The paper's five classes have ids 0 to 4; later additions to FaceForensics++ follow.
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
