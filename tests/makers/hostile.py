"""Names that attack a page or a terminal, and pickles of code in the place of data."""

import json
import os
import pickle
import random
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hffkit.errors import HffkitError
from hffkit.interop.weights import foreign_weights
from hffkit.reports.html import html_of
from hffkit.runs.training_samples import read_training_samples
from hffkit.runs.weights import read_weights
from hffkit.spectrum.models import read_model
from hffkit.wording import displayable
from makers.pages import Reader

_PIECES = (
    "<script>ran=1</script>", "<img src=x onerror=ran=1>", '"', "'", "`", "<", ">", "&", "&lt;",
    "--><svg onload=ran=1>", "]]>", "</title>", "</style>", "javascript:ran=1", "//host/x",
    "{{ 7 * 7 }}", "{% raw %}", "\x1b[2J", "\x1b]0;t\x07", "\x9b31m", "\u202e", "\u2066", "\r",
    "\x00", "\udcff", "face", " ", "\u00e9",
)  # fmt: skip


def names_shown(scratch: Path, n: int, seed: int) -> Counter[str]:  # noqa: ARG001
    """Show names of markup, templates, controls and undecodable bytes on a page and a terminal."""
    found: Counter[str] = Counter()
    for number in range(n):
        draw = random.Random(f"{seed} {number}")
        name = "".join(draw.choices(_PIECES, k=draw.randint(1, 6)))
        shown, where = displayable(name), f"seed {seed}, name {number}: {name!r}"
        hidden = [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Cf")]
        assert not hidden, where
        text = json.dumps([name], ensure_ascii=False)
        assert json.loads(displayable(text))[0].replace("\\udcff", "\udcff") == name, where
        facts = [(name, name)]
        html = html_of("gallery.html.j2", title=name, facts=facts, notes=[name], sections=[])
        page = Reader(html)
        assert not page.tags & {"script", "img", "svg"}, where
        assert page.targets == [], where
        assert "".join(page.text).count(shown) >= 4 * bool(shown.strip()), where
        found["shown as text"] += 1
    return found


class Code:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def bomb(made: Path) -> bytes:
    """Return a pickle that makes a folder when it is loaded."""
    return pickle.dumps({"fc.weight": Code(made)}, protocol=2)


def write_objects(path: Path, made: Path) -> None:
    """Write a numpy file of pickled objects."""
    with path.open("wb") as file:
        np.save(file, np.array([Code(made)], object), allow_pickle=True)


def pickled_code(scratch: Path, n: int, seed: int) -> Counter[str]:
    """Put pickles of code, whole or with damaged bytes, in the place of weights and records."""
    found: Counter[str] = Counter()
    for number in range(n):
        draw = random.Random(f"{seed} {number}")
        here, made = scratch / str(number), scratch / f"executed-{number}"
        here.mkdir()
        kind = draw.choice(("w.pth", "zip", "w.caffemodel", "w.bin", "w.h5", "run", "npy", "skops"))
        data = bytearray(_code(here, made, kind))
        for _ in range(draw.randrange(3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        refusal, where = _refusal(here, kind, bytes(data)), f"seed {seed}, file {number}, {kind}"
        assert str(here) in refusal, f"{where}: {refusal}"
        assert not made.exists(), f"{where} was executed"
        found["refused with the file's name"] += 1
    return found


def _code(here: Path, made: Path, kind: str) -> bytes:
    if kind == "npy":
        write_objects(here / "x", made)
        return (here / "x").read_bytes()
    if kind == "zip":
        torch.save({"fc.weight": Code(made)}, here / "x")
        return (here / "x").read_bytes()
    return bomb(made)


def _refusal(here: Path, kind: str, data: bytes) -> str:
    try:
        _read(here, kind, data)
    except HffkitError as error:
        return str(error)
    return "it was read"


def _read(here: Path, kind: str, data: bytes) -> None:
    names = {
        "run": "weights.safetensors",
        "npy": "training-samples.npy",
        "skops": "model.skops",
        "zip": "w.pth",
    }
    path = here / names.get(kind, kind)
    path.write_bytes(data)
    if kind == "run":
        read_weights(here)
    elif kind == "npy":
        read_training_samples(here)
    elif kind == "skops":
        read_model(path, "logistic", 80)
    else:
        foreign_weights(path, "meso4")
