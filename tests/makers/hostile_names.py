"""Trees and lists of images whose names attack what reads, prints or writes them."""

import functools
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from hffkit.corpus.build import BuildWork, prepare
from hffkit.errors import HffkitError
from hffkit.extraction.units import Unit
from hffkit.manifest.failures import FATAL, Failure
from hffkit.manifest.samples import MAX_KEY_BYTES
from hffkit.sources.folders import FolderOptions
from hffkit.sources.lists import ListOptions
from hffkit.sources.options import SourceOptions
from hffkit.storage.parts import PartWriter, Record, read_part
from makers.mutations import saved
from makers.trees import face

_PIECES = (
    "a", "ü", "0001", "\n", "\t", "\r", "\x1b[2J", "\x7f", "\u202e", "\udcff", "\udcc3", "..", ".",
    " ", "-rf", "x" * 90, "'", '"', "$(id)", "%s", "{}", "\\", "..\\", "~", "*", ":", "\u2028",
)  # fmt: skip
_IN_LISTS = ("/", "//", "../", "/../", "\0", "y" * 300, "fake/")


def hostile_names(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Build trees of hostile names, and lists of them.

    Each file and each line becomes a sample with a key that is safe to store and to print, or one
    failure, or the list is refused by one error. Nothing outside of the tree is read by a list.
    """
    found: Counter[str] = Counter()
    for number in range(n):
        rng = np.random.default_rng((seed, number))
        case, root = f"seed {seed}, tree {number}", scratch / "tree"
        shutil.rmtree(root, ignore_errors=True)
        names = [*_files(root, rng)]
        try:
            found += _of_list(root, names, rng, case) if number % 2 else _of_tree(root, names, case)
        except HffkitError:
            found["list refused" if number % 2 else "tree refused"] += 1
        except Exception as error:
            raise AssertionError(f"{case}: {error!r}") from error
    shutil.rmtree(scratch / "tree", ignore_errors=True)
    return found


def _name(rng: np.random.Generator, *more: str) -> str:
    pieces = (*_PIECES, *more)
    return "".join(pieces[at] for at in rng.integers(len(pieces), size=rng.integers(1, 5)))


@functools.cache
def _png() -> bytes:
    return saved(PillowImage.fromarray(face(0)[:32, :32]), "PNG")


def _files(root: Path, rng: np.random.Generator) -> Iterator[str]:
    """Make images in folders, as far as the file system takes their names; yield their paths."""
    (root / "real").mkdir(parents=True)
    (root / "fake").mkdir()
    png = _png()
    (root.parent / "outside.png").write_bytes(png)
    for number in range(6):
        folder = ("real", "fake")[number % 2]
        place = root / folder / _name(rng) if rng.integers(3) == 0 else root / folder
        if not place.resolve().is_relative_to(root / folder):
            continue
        path = place / f"{_name(rng)}{number}.png"
        with suppress(OSError, ValueError):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png + bytes([number]))
            yield path.relative_to(root).as_posix()
    for folder in ("real", "fake"):
        (root / folder / "last.png").write_bytes(png + folder.encode())
        yield f"{folder}/last.png"


def _of_tree(root: Path, names: list[str], case: str) -> Counter[str]:
    kept, told = _built(FolderOptions("folder", src=root, real=("real",), fake=("fake",)), case)
    hidden = {name for name in names if any(part.startswith(".") for part in name.split("/"))}
    assert len(kept) + len(told) + len(hidden) == len(names), case
    return Counter({"file of a tree built": len(kept), "file of a tree named": len(told)})


def _of_list(root: Path, names: list[str], rng: np.random.Generator, case: str) -> Counter[str]:
    rows = [(name, name.startswith("real")) for name in names if name.isprintable()]
    lines = [_name(rng, *_IN_LISTS).replace("\n", "").replace("\r", "") for _ in range(3)]
    if rng.integers(5):  # a list that is not UTF-8 is refused
        lines = [line.encode("utf-8", "ignore").decode() for line in lines]
    rows += [(f"{line}.png", bool(rng.integers(2))) for line in lines]
    rows += [("../outside.png", False), (f"{root.parent}/outside.png", False)]
    path = root.parent / "list.txt"
    text = "".join(f"{name} {int(is_real)}\n" for name, is_real in rows)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    options = ListOptions("list", src=root, real=("1",), fake=("0",), list_file=path)
    kept, told = _built(options, case)
    assert len(kept) + len(told) == text.count("\n"), case
    return Counter({"line of a list built": len(kept), "line of a list named": len(told)})


def _built(options: SourceOptions, case: str) -> tuple[list[str], list[str]]:
    """Return the keys of samples, and the paths of failures."""
    job = prepare(options)
    listing = job.listing
    events = [event for unit in listing.units for event in _done(BuildWork(job.settings), unit)]
    keys = [event.sample.key for event in events if isinstance(event, Record)]
    for key in keys:
        assert len(key.encode()) <= MAX_KEY_BYTES, case
        assert ".." not in key.split("/"), case
        assert not key.startswith("/"), case
    failures = [*listing.failures, *(event for event in events if isinstance(event, Failure))]
    told = [failure.path for failure in failures if failure.kind in FATAL]
    assert all("\n" not in failure.to_line()[:-1] for failure in failures), case
    return keys, told


def _done(work: BuildWork, unit: Unit) -> list[object]:
    part = work.settings.root.parent / "names.part"
    with PartWriter(part, is_durable=False) as writer:
        work(unit, writer)
    events: list[object] = [*read_part(part)]
    part.unlink()
    return events
