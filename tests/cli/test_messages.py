"""Parameters in the library's messages, and the options that the command line shows for them."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from makers.trees import build_corpus, write_image

from hffkit.cli import main as cli
from hffkit.corpus.subset import check_share
from hffkit.errors import (
    ArgumentError,
    HffkitError,
    ImageError,
    StorageError,
    UnknownNameError,
    WeightsError,
)
from hffkit.manifest.classes import numbered
from hffkit.media.image import decode
from hffkit.runs.run import read_row
from hffkit.storage.corpora import open_corpora
from hffkit.storage.corpus import Corpus
from hffkit.storage.record import check_packed_size
from hffkit.wording import counted

PACKAGE = Path(__file__).parents[2] / "hffkit"
ROOMS = ("manifest", "storage", "execution", "explain")


@pytest.mark.parametrize(
    ("error", "arguments", "code", "shown"),
    [
        (
            ArgumentError("`share` must be above 0."),
            "subset x --out y --share 1",
            2,
            "--share must be above 0.",
        ),
        (
            ArgumentError("`qualities` contradicts `pair`."),
            "build ff++ --pair c23,c40",
            2,
            "--quality contradicts --pair.",
        ),
        (
            StorageError("x is there. Choose another `out`; `run` and `a b` are not touched."),
            "merge x y --out z",
            1,
            "x is there. Choose another --out; `run` and `a b` are not touched.",
        ),
    ],
)
def test_the_command_line_shows_its_options_for_parameters(
    monkeypatch: pytest.MonkeyPatch, error: HffkitError, arguments: str, code: int, shown: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    name, *rest = arguments.split()
    command = cli.main.commands[name]
    if name == "build":
        command = command.commands[rest[0]]  # type: ignore[attr-defined]
    monkeypatch.setattr(command, "callback", fail)
    result = CliRunner().invoke(cli.main, arguments.split())
    assert result.exit_code == code
    assert result.output.splitlines()[-1] == f"Error: {shown}"


def test_the_library_names_parameters() -> None:
    with pytest.raises(ArgumentError, match=r"^`share` must be above 0 and at most 1, got 0\.$"):
        check_share(0)
    with pytest.raises(ArgumentError, match=r"^`size` must be native or 1 to 4096 px, got 0\.$"):
        check_packed_size(0)


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    error = StorageError(f"x.json: got {'y' * 10**6}. Delete it.")
    text = error.message({})
    assert len(text) <= 4000
    assert text.startswith("x.json: got yyy")
    assert text.endswith("yyy. Delete it.")
    many = str(UnknownNameError("step", "z" * 10**6, [f"step {n}" for n in range(500)]))
    assert len(many) < 2000
    assert many.endswith("step 99 and 400 more.")


def test_an_error_of_the_system_is_shown_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def fail() -> None:
        (tmp_path / "absent").read_bytes()

    monkeypatch.setitem(cli.main.commands, "fail", fail)
    done = CliRunner().invoke(cli.main, ["fail"])
    assert done.exit_code == 1
    assert done.output == f"Error: {tmp_path}/absent: No such file or directory.\n"


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hffkit", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path}: no corpus")


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_but_the_command_line_speaks_of_options(room: str) -> None:
    for path in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"(?<![\w-])--[a-z]", node.value), f"{path}: {node.value}"


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (2, ("file",), "2 files"),
        (1, ("family", "families"), "1 family"),
        (3, ("family", "families"), "3 families"),
    ],
)
def test_a_noun_after_one_is_singular(n: int, words: tuple[str, ...], text: str) -> None:
    assert counted(n, *words) == text


def test_a_path_that_does_not_exist_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, corpus, run in (
        ("absent", "no such corpus.", "no such run."),
        ("file", "a file, no corpus.", "a file, no run."),
        ("empty", "no corpus: the folder holds no corpus.json.", "no run: the folder holds no run"),
    ):
        with pytest.raises(StorageError, match=re.escape(f"{tmp_path / name}: {corpus}")):
            Corpus(tmp_path / name)
        with pytest.raises(WeightsError, match=re.escape(f"{tmp_path / name}: {run}")):
            read_row(tmp_path / name)


def test_classes_that_differ_are_described_in_words(tmp_path: Path) -> None:
    write_image(tmp_path / "in/a/1.png")
    write_image(tmp_path / "in/b/2.png")
    one = build_corpus("folder", tmp_path / "in", tmp_path / "x", real=("a",), fake=("b",))
    other = build_corpus("folder", tmp_path / "in", tmp_path / "y", real=("b",), fake=("a",))
    message = (
        r"y and .*x cannot be taken as one: class 'a' is fake in the first and real in the sec"
    )
    with pytest.raises(StorageError, match=message):
        open_corpora([str(one), str(other)])


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"broken\n", "no image: starts with 'broken'"),
        (b"404: not found", "no image: starts with '404: not'"),
        (b"\x00\x01\xfftext", "no image: starts with the bytes 00 01 ff 74 65 78 74"),
    ],
)
def test_what_is_no_image_is_shown_as_text_or_bytes(encoded: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as error:
        decode(encoded)
    assert str(error.value) == reason


def test_classes_are_found_in_capitals_too() -> None:
    table = numbered(("fake", "A", "a"), ("real",))
    assert table.called("Fake") == table["fake"]
    assert (table.called("A"), table.called("a")) == (table["A"], table["a"])
    with pytest.raises(UnknownNameError, match="No class named 'Other'"):
        table.called("Other")
