"""Lists of samples to drop: the report of an audit, or a file of keys."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hffkit.errors import CorpusError
from hffkit.fields import Fields, shown
from hffkit.input_files import json_of, read_text
from hffkit.sources.columns import table_of
from hffkit.storage.csv_files import unguarded
from hffkit.wording import counted, first_of

_COLUMN = "key"
_N_SHOWN = 3


def read_drop_list(path: Path) -> frozenset[str]:
    """Read the keys of samples to drop.

    The file is the JSON of an audit, whose findings list the samples to drop; or a CSV with the
    column key, separated by commas, semicolons or tabs; or a text with one key a line.

    Raises
    ------
    CorpusError
        If it cannot be read, or lists no key.
    """
    text = read_text(path, CorpusError)
    if text.lstrip().startswith("{"):
        keys = frozenset(_of_audit(text, path))
        advice = "the findings of this audit list no sample to drop"
    else:
        keys = frozenset(key for key in _of_lines(text.splitlines(), path) if key)
        advice = "lists no key"
    if not keys:
        raise CorpusError(f"{path}: {advice}.")
    return keys


def _of_audit(text: str, path: Path) -> Iterator[str]:
    where = f"{path}: no report of `hffkit audit --json`, nor a list of keys"
    report = Fields.of(json_of(text, where, CorpusError), where, CorpusError)
    for finding in report.rows("findings"):
        yield from finding.texts("drop")


def _of_lines(lines: Sequence[str], path: Path) -> Iterator[str]:
    table = table_of(lines, {_COLUMN}, path)
    if table is not None:
        for _, row in table:
            yield unguarded(row[_COLUMN].strip())
        return
    for line in lines:
        # A key may hold commas, so only a quoted line is one cell.
        quoted = re.fullmatch(r'"((?:[^"]|"")*)".*', line)
        yield (quoted[1].replace('""', '"') if quoted else line).strip()


def check_known(path: Path, unknown: Sequence[str], n_keys: int, corpora: str) -> None:
    """Raise CorpusError if a list of `n_keys` has keys that are no samples of the corpora."""
    if unknown:
        some = first_of([*map(shown, unknown)], _N_SHOWN)
        are = "is no sample" if len(unknown) == 1 else "are no samples"
        raise CorpusError(
            f"{path}: {len(unknown)} of {counted(n_keys, 'key')} {are} of {corpora}: "
            f"{some}. List keys as in manifest.jsonl, of these corpora."
        )
