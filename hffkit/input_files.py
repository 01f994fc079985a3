"""Files that anybody may have written or damaged: text, JSON, JSON Lines and TOML.

Only regular files of bounded size are read, so that a named pipe, a device or an endless file is an
error instead of a wait. Nesting is bounded, numbers are finite and of bounded length, and whatever
is wrong with a file is an error of the caller's kind that names the file, and the line where there
is one. See also `hffkit.fields`.
"""

import errno
import json
import math
import re
import stat
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hffkit.errors import HffkitError, reading_from
from hffkit.fields import shown
from hffkit.json_types import JsonObject

MAX_TEXT_BYTES = 1 << 30  # lists of many millions of files, boxes of all frames of FaceForensics++
MAX_JSON_BYTES = 1 << 28  # Python needs about ten times as much for the values
MAX_TOML_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 24  # of a JSON Lines file
_READ_BYTES = 1 << 20  # of lines at once
MAX_DEPTH = 64  # of nested lists and objects
MAX_DIGITS = 40  # of a number without a point; 64 bits need 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# A dotted key of TOML with too many parts, whose parser needs the square of them in time.
_DEEP_KEY = re.compile(
    r"""(?:(?:(?<![\w-])[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{MAX_DEPTH}}}"
)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # escapes of surrogates, which should come in pairs


def check_regular(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises
    ------
    OSError
        If there is no such file, or it is a folder, or something that has no end or waits for a
        writer: a named pipe, a device, a socket.
    """
    found = path.stat()
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
    raise OSError(number, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}", str(path))


def is_there(path: Path) -> bool:
    """Test for a file or folder; True if the test fails, so that reading reports the reason."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def check_file(path: Path, kind: type[HffkitError], advice: str) -> None:
    """Raise an error of `kind` unless there is a regular file, which is not opened."""
    if not is_there(path):
        raise kind(f"{path}: no such file. {advice}")
    with reading_from(path, kind):
        check_regular(path)


def read_bounded(
    path: Path | Traversable, kind: type[HffkitError], most: int = MAX_TEXT_BYTES
) -> bytes:
    """Return the bytes of a regular file that has at most `most`."""
    with reading_from(path, kind):
        size = check_regular(path) if isinstance(path, Path) else 0
        if size <= most:
            found = path.read_bytes()  # `read(most)` would allocate that much for a small file
            size = len(found)
    if size > most:
        raise kind(f"{path}: has {size} bytes, more than the {most} that such a file may have.")
    return found


def read_text(path: Path | Traversable, kind: type[HffkitError], most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file, without a byte order mark."""
    try:
        return read_bounded(path, kind, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(f"{path}: must be UTF-8 text: {error}.") from None


def read_json(path: Path | Traversable, kind: type[HffkitError], most: int = MAX_JSON_BYTES) -> Any:
    """Return the value of a JSON file."""
    return json_of(read_text(path, kind, most), str(path), kind)


def read_object(
    path: Path | Traversable, kind: type[HffkitError], most: int = MAX_JSON_BYTES
) -> JsonObject:
    """Return the value of a JSON file that holds an object."""
    return _object(read_json(path, kind, most), str(path), kind)


def read_lines(path: Path, kind: type[HffkitError]) -> Iterator[bytes]:
    """Yield the lines of a regular file of any size, with their ends; lines are bounded.

    The file is open only while some of its lines are read: any number can be read side by side.
    """
    start = number = 0
    while lines := _lines_from(path, start, kind):
        for line in lines:
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise kind(f"{path}:{number}: the line has more than {MAX_LINE_BYTES} bytes.")
            yield line
        start += sum(map(len, lines))


def _lines_from(path: Path, start: int, kind: type[HffkitError]) -> list[bytes]:
    """Return about a megabyte of lines that begin at byte `start`."""
    lines, n_bytes = [], 0
    with reading_from(path, kind):
        check_regular(path)
        with path.open("rb") as file:
            file.seek(start)
            while n_bytes < _READ_BYTES and (line := file.readline(MAX_LINE_BYTES + 1)):
                lines.append(line)
                n_bytes += len(line)
    return lines


def read_json_lines(path: Path, kind: type[HffkitError]) -> Iterator[JsonObject]:
    """Yield the objects of a JSON Lines file."""
    for number, line in enumerate(read_lines(path, kind), 1):
        yield object_of(line, f"{path}:{number}", kind)


def object_of(line: bytes, where: str, kind: type[HffkitError]) -> JsonObject:
    """Return the JSON object that is the value of a line or file."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise kind(f"{where}: must be UTF-8 text: {error}.") from None
    return _object(json_of(text, where, kind), where, kind)


def json_of(
    text: str,
    where: str,
    kind: type[HffkitError],
    decode: Callable[[str], Any] | None = None,
) -> Any:
    """Return the value of JSON text; by default `decode` is that of `finite_decoder`."""
    try:
        value = (decode or _DECODER.decode)(text)
    except json.JSONDecodeError as error:
        cut = f", which is cut off or empty (it has {len(text)} characters)"
        ends = error.pos >= len(text.rstrip())
        raise kind(f"{where}: no JSON: {error}{cut if ends else ''}.") from None
    except RecursionError:
        raise kind(f"{where}: {_TOO_DEEP}") from None
    except ValueError as error:
        raise kind(f"{where}: no JSON: {error}.") from None
    except MemoryError:
        raise kind(f"{where}: its values need more memory than there is.") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise kind(f"{where}: {_TOO_DEEP}")
    if _HALF.search(text):
        _refuse_halves(value, where, kind)
    return value


def _refuse_halves(value: object, where: str, kind: type[HffkitError]) -> None:
    """Refuse lone surrogates, except those that stand for undecodable bytes of file names."""
    for each in _values(value):
        for text in each if isinstance(each, dict) else (each,):
            try:
                if isinstance(text, str):
                    text.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                raise kind(
                    f"{where}: {shown(text)} holds a lone surrogate, which UTF-8 cannot encode."
                ) from None


def read_toml(path: Path | Traversable, kind: type[HffkitError]) -> JsonObject:
    """Return the values of a TOML file."""
    return toml_of(read_text(path, kind, MAX_TOML_BYTES), str(path), kind)


def toml_of(text: str, where: str, kind: type[HffkitError]) -> JsonObject:
    """Return the values of TOML text, whose whole numbers have 64 bits, as its standard says."""
    if _DEEP_KEY.search(text):
        raise kind(f"{where}: {_TOO_DEEP}")
    try:
        values = tomllib.loads(text, parse_float=_finite)
    except RecursionError:
        raise kind(f"{where}: {_TOO_DEEP}") from None
    except ValueError as error:
        is_long = "set_int_max_str_digits" in str(error)  # of Python's own limit
        reason = "a whole number must fit in 64 bits" if is_long else error
        raise kind(f"{where}: no TOML: {reason}.") from None
    if depth(values) > MAX_DEPTH:
        raise kind(f"{where}: {_TOO_DEEP}")
    for number in filter(lambda value: type(value) is int, _values(values)):
        if not -(2**63) <= number < 2**63:  # it may have more digits than can be shown
            raise kind(f"{where}: a whole number must fit in 64 bits, got {hex(number)[:20]}…")
    return values


def depth(value: object) -> int:
    """Return how deep lists and objects are nested; 0 for a scalar."""
    level, found = [value], 0
    while level := [inner for each in level for inner in _inside(each)]:
        found += 1
    return found + isinstance(value, list | tuple | dict)


_TOO_DEEP = f"lists and objects must not be nested more than {MAX_DEPTH} deep."


def _inside(value: object) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _values(value: object) -> Iterator[Any]:
    """Yield all values inside a value."""
    rest = [value]
    while rest:
        each = rest.pop()
        yield each
        rest.extend(_inside(each))


def _object(value: Any, where: str, kind: type[HffkitError]) -> JsonObject:
    if not isinstance(value, dict):
        raise kind(f"{where}: must be a JSON object, got {shown(value)}.")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:20]}… has {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def finite_decoder(
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    whole: Callable[[str], Any] = _whole,
) -> json.JSONDecoder:
    """Return a decoder of JSON without NaN, infinity and numbers of endless digits.

    With int as `whole` it is faster, and refuses whole numbers above Python's limit of 4300 digits.
    """
    return json.JSONDecoder(
        parse_float=_finite, parse_int=whole, parse_constant=_finite, object_pairs_hook=pairs
    )


_DECODER = finite_decoder()
