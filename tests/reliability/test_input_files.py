import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hffkit.errors import CorpusError, HffkitError
from hffkit.fields import Fields
from hffkit.input_files import (
    MAX_DEPTH,
    MAX_LINE_BYTES,
    MAX_TOML_BYTES,
    depth,
    is_there,
    json_of,
    read_bounded,
    read_json,
    read_json_lines,
    read_object,
    read_text,
    read_toml,
    toml_of,
)

READERS: list[Callable[[Path, type[HffkitError]], object]] = [
    read_bounded,
    read_text,
    read_json,
    read_toml,
    lambda path, kind: list(read_json_lines(path, kind)),
]
Make = Callable[[Path], object]
IRREGULAR: list[tuple[Make, str]] = [
    (os.mkfifo, "cannot be read: it is a named pipe."),
    (Path.mkdir, "cannot be read: it is a folder."),
    (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is a device."),
    (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links."),
    (Path.exists, "cannot be read: No such file or directory."),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("make", "words"), IRREGULAR)
def test_only_regular_files_are_read(
    tmp_path: Path, read: Callable[[Path, type[HffkitError]], object], make: Make, words: str
) -> None:
    path = tmp_path / "file"
    make(path)
    with pytest.raises(CorpusError) as caught:
        read(path, CorpusError)
    assert str(caught.value) == f"{path}: {words}"


def test_a_small_file_needs_little_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    tracemalloc.start()
    try:
        for read in (read_bounded, read_text, read_json):
            read(tmp_path / "file", CorpusError)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", READERS)
def test_a_name_that_no_file_can_have_is_an_error(
    read: Callable[[Path, type[HffkitError]], object],
) -> None:
    for name in ("a\0b", "\udfff\ud800"):
        with pytest.raises(CorpusError, match="cannot be read"):
            read(Path(name), CorpusError)
    assert is_there(Path("a\0b"))
    assert not is_there(Path("/no/such/file"))


@pytest.mark.parametrize("read", READERS[:4])
def test_a_file_of_20_gigabytes_is_refused_at_once(
    tmp_path: Path, read: Callable[[Path, type[HffkitError]], object]
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20 << 30)  # a hole: no disk is used
    begin = time.monotonic()
    with pytest.raises(CorpusError, match=rf"large: has {20 << 30} bytes, more than the \d+"):
        read(path, CorpusError)
    assert time.monotonic() - begin < 1


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b'{"a": 1}\n')
    os.truncate(path, 20 << 30)
    rows = read_json_lines(path, CorpusError)
    assert next(rows) == {"a": 1}
    with pytest.raises(CorpusError, match=f"large:2: the line has more than {MAX_LINE_BYTES}"):
        next(rows)


BAD_JSON = [
    ("", r"no JSON: Expecting value: line 1 column 1 \(char 0\), which is cut off or empty"),
    ('{"a": [1, ', "no JSON: .* which is cut off or empty"),
    ('{"a": 1} 2', "no JSON: Extra data: line 1 column 10"),
    ("[" * 100_000, "lists and objects must not be nested more than 64 deep"),
    ('{"a":' * 900 + "1" + "}" * 900, "lists and objects must not be nested more than 64 deep"),
    ("[" * 65 + "]" * 65, "lists and objects must not be nested more than 64 deep"),
    ("9" * 5000, "no JSON: the number 99999999999999999999… has 5000 digits"),
    ("[-1e999]", "no JSON: -1e999 is no finite number"),
    ("NaN", "no JSON: NaN is no finite number"),
    ("[-Infinity]", "no JSON: -Infinity is no finite number"),
    ('{"a": ["x", "\\ud800"]}', r"'\\ud800' holds a lone surrogate"),
    ('[{"\\uDFFF": 1}]', r"'\\udfff' holds a lone surrogate"),
]


@pytest.mark.parametrize(("text", "words"), BAD_JSON)
def test_what_is_no_plain_json_is_an_error_of_the_callers_kind(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CorpusError, match=f"a.json: {words}") as caught:
        read_json(path, CorpusError)
    assert len(str(caught.value)) < 300
    path.write_text(f'{{"good": 1}}\n{text or "x"}\n')
    with pytest.raises(CorpusError, match=r"a\.json:2: "):
        list(read_json_lines(path, CorpusError))


def test_json_is_read_as_python_reads_it() -> None:
    text = json.dumps(
        {"a": [1, -2.5, 1e300, 2**64, None, True, "ü😀\udc80\0"], "b": {"c": []}}, ensure_ascii=True
    )
    assert json_of(text, "here", CorpusError) == json.loads(text)
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert depth(json_of(nested, "here", CorpusError)) == MAX_DEPTH


def test_files_are_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"ü": 1}', "utf-8-sig")
    assert read_object(path, CorpusError) == {"ü": 1}
    path.write_text('{"ü": 1}', "latin-1")
    for read in READERS[1:]:
        with pytest.raises(CorpusError, match="must be UTF-8 text: "):
            read(path, CorpusError)
    path.write_text("[1]")
    with pytest.raises(CorpusError, match=r"a.json: must be a JSON object, got \[1\]\."):
        read_object(path, CorpusError)


BAD_TOML = [
    ("a = ", "no TOML: Invalid value"),
    ("a = " + "[" * 100_000, "lists and objects must not be nested more than 64 deep"),
    ("a = " + "[" * 64 + "]" * 64, "lists and objects must not be nested more than 64 deep"),
    (".".join("a" * 200_000) + " = 1", "lists and objects must not be nested more than 64 deep"),
    ('"a" . ' * 70 + "a = 1", "lists and objects must not be nested more than 64 deep"),
    ("[" + ".".join("a" * 70) + "]", "lists and objects must not be nested more than 64 deep"),
    ("a = " + "9" * 5000, "no TOML: a whole number must fit in 64 bits"),
    ("a = 0x" + "f" * 5000, "a whole number must fit in 64 bits, got 0xffff"),
    (f"a = {2**63}", "a whole number must fit in 64 bits"),
    ("a = [{b = nan}]", "no TOML: nan is no finite number"),
    ("a = -inf", "no TOML: -inf is no finite number"),
    ("a = 1e999", "no TOML: 1e999 is no finite number"),
    ("#" * (MAX_TOML_BYTES + 1), "has 1048577 bytes, more than the 1048576"),
]


@pytest.mark.parametrize(("text", "words"), BAD_TOML)
def test_what_is_no_plain_toml_is_an_error_of_the_callers_kind(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    begin = time.monotonic()
    with pytest.raises(CorpusError, match=f"a.toml: {words}"):
        read_toml(path, CorpusError)
    assert time.monotonic() - begin < 2


def test_toml_is_read_as_its_standard_says() -> None:
    text = f'a = {2**63 - 1}\nb.c = [0.5, "{"a b. " * 100}"]\n'
    assert toml_of(text, "x", CorpusError) == {"a": 2**63 - 1, "b": {"c": [0.5, "a b. " * 100]}}


WRONG: list[tuple[Callable[[Fields], object], str]] = [
    (lambda f: f.take("none", str), "here: none is missing; it must be a text."),
    (lambda f: f.take("n", str), "here: n must be a text, got 5."),
    (lambda f: f.take("yes", int), "here: yes must be a whole number, got true."),
    (lambda f: f.take("path", int), r"here: path must be a whole number, got 'a\b'."),
    (lambda f: f.take("null", int), "here: null must be a whole number, got null."),
    (lambda f: f.take("t", float), "here: t must be a number, got 'x'."),
    (lambda f: f.whole("n", 6, 9), "here: n must be a whole number from 6 to 9, got 5."),
    (lambda f: f.whole("n", 0, 4), "here: n must be a whole number from 0 to 4, got 5."),
    (lambda f: f.number("inf"), "here: inf must be a finite number from -inf to inf, got inf."),
    (lambda f: f.number("big"), "here: big must be a number, got "),
    (lambda f: f.one_of("t", ["a", "b"]), "here: t must be one of a, b, got 'x'."),
    (lambda f: f.texts("mixed"), "here: mixed must be a list of texts, got ['a', {}]."),
    (lambda f: f.inner("o").take("p", dict), "here: o: p must be an object, got []."),
    (lambda f: f.rows("mixed"), "here: mixed[0]: must be an object, got 'a'."),
    (lambda f: f.check_known(["n"]), "here: unknown big, inf, mixed, null, o, path, t, yes."),
    (lambda f: Fields.of([f.where], "here", CorpusError), "here: must be an object, got ['here']."),
]


@pytest.mark.parametrize(("take", "words"), WRONG)
def test_a_field_of_another_type_is_an_error_that_names_it(
    take: Callable[[Fields], object], words: str
) -> None:
    row: dict[str, Any] = {"n": 5, "yes": True, "t": "x", "inf": float("inf"), "big": 10**400}
    row |= {"mixed": ["a", {}], "o": {"p": []}, "path": r"a\b", "null": None}
    with pytest.raises(CorpusError) as caught:
        take(Fields(row, "here", CorpusError))
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 150


def test_a_field_of_the_right_type_is_returned() -> None:
    fields = Fields({"n": 5, "t": "x", "l": ["a"], "o": [{"p": 0.5}], "no": None}, "", CorpusError)
    assert (fields.whole("n", 5, 5), fields.number("n"), fields.one_of("t", ["x"])) == (5, 5.0, "x")
    assert (fields.optional("no", int), fields.optional("other", int)) == (None, None)
    assert fields.texts("l") == ["a"]
    assert [inner.number("p", 0, 1) for inner in fields.rows("o")] == [0.5]
