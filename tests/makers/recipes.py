"""A recipe with steps of several kinds, and changes of it."""

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GOOD = """
title = "What JPEG does"

[data.faces]
about = "faces"

[values]
set = ["Raw", "JP60"]
test = ["Raw", "JP60"]
seed = [0, 1]

[steps."{set} on {test}, {seed}"]
do = "eval"
runs = "net {set}, {seed}"
data = "{test}"
resamples = 0

[steps.Raw]
do = "pack"
src = "faces"
size = 32

[steps.JP60]
do = "degrade"
src = "faces"
op = "JP60"
size = 32

[steps."net {set}, {seed}"]
do = "train"
data = "{set}"
recipe = "small"
set = { size = 32 }
seed = "{seed}"

[table]
cell = "{set} on {test}, {seed}"
rows = "set"
columns = "test"
averages.columns = { Average = ["Raw", "JP60"] }

[[claims]]
text = "It helps."
better = [["JP60", "JP60"]]
worse = [["Raw", "JP60"]]
"""
NAMES = {"net": "net {set}, {seed}", "eval": "{set} on {test}, {seed}"}


def changed(place: str, value: Any, rows: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return GOOD, or `rows`, with another value at a place such as steps.net.seed."""
    made = copy.deepcopy(dict(tomllib.loads(GOOD) if rows is None else rows))
    *path, last = (NAMES.get(part, part) for part in place.split("."))
    inner = made
    for part in path:
        inner = inner.setdefault(part, {})
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return made


def write(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)
