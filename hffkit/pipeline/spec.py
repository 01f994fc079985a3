"""The table of a recipe: its cells, averages and claims; and the placeholders {x} of values."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hffkit.errors import RecipeError, UnknownNameError
from hffkit.evaluation.metrics import LevelName
from hffkit.fields import shown

VIDEO_LEVELS: tuple[LevelName, ...] = ("video_mean", "video_vote")
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
Value = str | int | float
Values = Mapping[str, Sequence[Value]]


@dataclass(frozen=True, slots=True)
class RecipeTableKind:
    """A kind of table: what its recipe names, and the steps that its cells show."""

    keys: tuple[str, ...]  # that are required beside `cell`
    optional: tuple[str, ...] = ()
    step: str = "eval step, nor a spectrum with repeats"  # behind a cell, for messages
    has_claims: bool = False


KINDS: Mapping[str, RecipeTableKind] = {
    "accuracy": RecipeTableKind(("rows", "columns"), ("averages", "videos"), has_claims=True),
    "ablation": RecipeTableKind(("rows", "reference")),
    "detection": RecipeTableKind(("rows", "positive")),
    "confusion": RecipeTableKind(()),
    "robustness": RecipeTableKind(("rows", "columns"), step="robustness step", has_claims=True),
    "guarantee": RecipeTableKind(
        ("rows", "columns"), step="eval step of a run of a decide step", has_claims=True
    ),
}


@dataclass(frozen=True, slots=True)
class VideoColumn:
    """A further column: another column's cells by video instead of by frame."""

    column: str
    level: str  # one of VIDEO_LEVELS


@dataclass(frozen=True, slots=True)
class TableSpec:
    """The specification of a recipe's table."""

    cell: str  # the name of the step behind a cell, with placeholders
    rows: str  # name of the values that are the rows
    columns: str | None  # likewise; None: the columns are metrics of one step
    kind: str  # a name of KINDS
    reference: str | None  # the row that others are compared with, in an ablation
    positive: str | None  # the class whose precision and recall are computed, in a detection
    averages: Mapping[str, Mapping[str, Sequence[str]]]  # "rows" or "columns": name: of which
    videos: Mapping[str, VideoColumn]  # by the name of the column


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that some cells are better than others, compared one by one."""

    text: str
    better: tuple[tuple[str, str], ...]  # (row, column)
    worse: tuple[tuple[str, str], ...]


def known_places(template: str, values: Values, where: str) -> list[str]:
    """Return the x of each {x}; raise RecipeError if the recipe has no values of that name."""
    places = places_in(template)
    for place in places:
        if place not in values:
            raise RecipeError(f"{where}: {UnknownNameError('value', place, values)}")
    return places


def places_in(text: str) -> list[str]:
    """Return the x of each {x} in a text, without repetition."""
    return list(dict.fromkeys(_PLACE.findall(text)))


def chosen_of(places: Sequence[str], values: Values) -> Iterator[dict[str, Value]]:
    """Yield every combination of the values of some placeholders, the last varying fastest."""
    for row in itertools.product(*(values[place] for place in places)):
        yield dict(zip(places, row, strict=True))


def put(value: Any, chosen: Mapping[str, Value]) -> Any:
    """Replace each {x} in a value; a text that is just one {x} becomes the value itself."""
    if isinstance(value, list):
        return [put(each, chosen) for each in value]
    if isinstance(value, dict):
        return {name: put(each, chosen) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    whole = _PLACE.fullmatch(value)
    if whole and whole[1] in chosen:
        return chosen[whole[1]]
    return _PLACE.sub(lambda match: str(chosen.get(match[1], match[0])), value)


def table_spec(row: Any, values: Values, where: str) -> TableSpec | None:
    """Parse the table of a recipe file, if it has one; raise RecipeError if it is invalid."""
    if row is None:
        return None
    if not isinstance(row, dict):
        raise RecipeError(f"{where} must be a table.")
    spec = TableSpec(
        cell=text_of(row, "cell", where),
        rows=str(row.get("rows", "")),
        columns=row.get("columns"),
        kind=row.get("kind", "accuracy"),
        reference=row.get("reference"),
        positive=row.get("positive"),
        averages=row.get("averages", {}),
        videos=_videos_of(row.get("videos", {}), f"{where}: videos"),
    )
    if str(spec.kind) not in KINDS:
        raise RecipeError(f"{where}: {UnknownNameError('kind', str(spec.kind), KINDS)}")
    kind = KINDS[spec.kind]
    for name in kind.keys:
        text_of(row, name, where)
    check_keys(row, ("cell", "kind", *kind.keys, *kind.optional), where)
    if spec.rows and spec.rows == spec.columns:
        raise RecipeError(f"{where}: rows and columns must be two, got {spec.rows!r} twice.")
    places = known_places(spec.cell, values, where)
    for axis in (spec.rows, spec.columns):
        if axis and axis not in places:
            raise RecipeError(f"{where}: cell must hold {{{axis}}}.")
    return spec


def _videos_of(rows: Any, where: str) -> dict[str, VideoColumn]:
    if not isinstance(rows, dict):
        raise RecipeError(f"{where} must be a table, got {shown(rows)}.")
    found = {}
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise RecipeError(f"{where}.{name} must be a table of column and level.")
        check_keys(row, ("column", "level"), f"{where}.{name}")
        level = text_of(row, "level", f"{where}.{name}")
        if level not in VIDEO_LEVELS:
            raise RecipeError(f"{where}.{name}: {UnknownNameError('level', level, VIDEO_LEVELS)}")
        found[name] = VideoColumn(str(row.get("column", "")), level)
    return found


def check_table(spec: TableSpec, values: Values, tested: Mapping[str, bool], where: str) -> None:
    """Raise RecipeError unless all cells are tests, and further rows and columns are of cells.

    `tested` says by the name of each step whether a table of this kind can show its result.
    """
    for chosen in chosen_of(places_in(spec.cell), values):
        name = str(put(spec.cell, chosen))
        if name not in tested:
            raise RecipeError(f"{where}: {UnknownNameError('step', name, tested)}")
        if not tested[name]:
            raise RecipeError(f"{where}: {name!r} is no {KINDS[spec.kind].step}.")
    _check_labels([each.column for each in spec.videos.values()], spec.columns, values, where)
    _check_new(spec.videos, spec.columns, values, where)
    if not isinstance(spec.averages, dict):
        raise RecipeError(f"{where}: averages must be a table, got {shown(spec.averages)}.")
    axes = {"rows": spec.rows, "columns": spec.columns}
    for axis, averages in spec.averages.items():
        lists = list(averages.values()) if isinstance(averages, dict) else [averages]
        if axis not in axes or not all(isinstance(of, list) and of for of in lists):
            raise RecipeError(
                f"{where}: averages must be lists of rows or columns, got {averages}."
            )
        _check_labels([str(name) for of in lists for name in of], axes[axis], values, where)
        _check_new(averages, axes[axis], values, where)
    if spec.kind == "ablation":
        _check_labels([str(spec.reference)], spec.rows, values, where)


def _check_new(names: Iterable[str], axis: str | None, values: Values, where: str) -> None:
    for name in names:
        if name in map(str, values.get(axis or "", ())):
            raise RecipeError(
                f"{where}: {name!r} names both an average or videos and a row or column."
            )


def check_claims(
    claims: Sequence[Claim], spec: TableSpec | None, values: Values, where: str
) -> None:
    """Raise RecipeError unless all claims are about cells of the table."""
    kinds = [name for name, kind in KINDS.items() if kind.has_claims]
    if claims and (spec is None or spec.kind not in kinds):
        raise RecipeError(f"{where} need a table of kind {', '.join(kinds[:-1])} or {kinds[-1]}.")
    axes = (spec.rows, spec.columns) if spec else (None, None)
    for claim in claims:
        cells = (*claim.better, *claim.worse)
        for labels, axis in zip(zip(*cells, strict=True), axes, strict=True):
            _check_labels(labels, axis, values, where)


def _check_labels(names: Sequence[str], axis: str | None, values: Values, where: str) -> None:
    known = [str(value) for value in values.get(axis or "", ())]
    for name in names:
        if name not in known:
            raise RecipeError(f"{where}: {UnknownNameError('row or column', name, known)}")


def claims_of(rows: Any, where: str) -> tuple[Claim, ...]:
    """Parse the claims of a recipe file; raise RecipeError if one is incomplete."""
    if not isinstance(rows, list):
        raise RecipeError(f"{where} must be a list of tables, got {shown(rows)}.")
    return tuple(_claim(row, where) for row in rows)


def _claim(row: Any, where: str) -> Claim:
    if not isinstance(row, dict):
        raise RecipeError(f"{where} must be tables.")
    check_keys(row, ("text", "better", "worse"), where)
    better, worse = _pairs(row, "better", where), _pairs(row, "worse", where)
    if len(better) != len(worse) or not better:
        raise RecipeError(f"{where}: better and worse must be lists of equally many cells.")
    return Claim(text_of(row, "text", where), better, worse)


def _pairs(row: Mapping[str, Any], name: str, where: str) -> tuple[tuple[str, str], ...]:
    cells = row.get(name)
    if not isinstance(cells, list) or not all(isinstance(c, list) and len(c) == 2 for c in cells):
        raise RecipeError(f"{where}: {name} must be a list of [row, column], got {shown(cells)}.")
    return tuple((str(cell[0]), str(cell[1])) for cell in cells)


def check_keys(row: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise RecipeError if a table of a recipe file has unknown keys."""
    for key in row:
        if key not in known:
            raise RecipeError(f"{where}: {UnknownNameError('key', key, known)}")


def table_of(rows: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return a table of a recipe file; empty if it is missing."""
    found = rows.get(name, {})
    if not isinstance(found, dict):
        raise RecipeError(f"{where}: {name} must be a table.")
    return found


def text_of(row: Any, name: str, where: str) -> str:
    """Return a non-empty text of a table, or raise RecipeError."""
    value = row.get(name) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value:
        raise RecipeError(f"{where}: {name} is missing: it must be text.")
    return value


def values_of(value: Any, where: str) -> list[Value]:
    """Return a list of different values, or raise RecipeError."""
    is_good = isinstance(value, list) and value and len(set(map(str, value))) == len(value)
    if not is_good or not all(isinstance(each, str | int | float) for each in value):
        raise RecipeError(
            f"{where} must be a list of different texts or numbers, got {shown(value)}."
        )
    return list(value)
