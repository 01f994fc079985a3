"""`--operations`: a user's own, from a Python file."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result
from makers.programs import HFFKIT
from makers.trees import (
    Pixels,
    about,
    build_two_classes,
    encoded_data,
    records,
    rows,
    write_image,
)
from PIL import Image

from hffkit.corpus.verify import verify
from hffkit.degrade.own import read_chain, read_own
from hffkit.degrade.table import OPERATIONS, TABLE_IX

Run = Callable[..., Result]

VIGNETTE = """
import numpy as np
from hffkit.degrade.operation import Filter
from hffkit.degrade.parameter import Choice, Rule
def darker(image, percent):
    y, x = (np.linspace(-1, 1, n) ** 2 for n in image.shape[:2])
    return np.rint(image * (1 - percent / 200 * (y[:, None] + x))[..., None]).astype(np.uint8)
rule = Rule("a whole number from 0 to 100", int, lambda percent: 0 <= percent <= 100)
OPERATIONS = {"own": Filter("own", "vignette", Choice("percent", rule, (10, 30, 60)), darker)}
"""

# An error that is no Exception and cannot be shown.
MUTE = """
import sys
class Mute(BaseException):
    def __str__(self):
        raise ValueError
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(VIGNETTE, "utf-8")
    return path


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 12 small images."""
    return build_two_classes(tmp_path_factory.mktemp("native"), 12, size=(31, 22))


def darkened(image: Pixels, percent: int) -> Pixels:
    """Return an image less `percent` at its corners and half of it in the middle of its edges."""
    height, width = image.shape[:2]
    y = (np.arange(height) * 2 / (height - 1) - 1).reshape(-1, 1, 1)
    x = (np.arange(width) * 2 / (width - 1) - 1).reshape(1, -1, 1)
    return np.asarray(image * (1 - percent / 100 * (y * y + x * x) / 2) + 0.5, np.uint8)


def error_of(result: Result, code: int) -> str:
    """Return the one line with which a command failed."""
    assert result.exit_code == code, result.output
    (line,) = result.stderr.splitlines()
    return line.removeprefix("Error: ")


def pixels(value: bytes, folder: Path) -> Pixels:
    """Return the pixels of an encoded Datum by Pillow."""
    path = folder / "record.png"
    path.write_bytes(encoded_data(value)[0])
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_operation_of_ones_own_works_like_the_others(
    native: Path, own: Path, tmp_path: Path, run: Run
) -> None:
    more = ("--operations", own, "--op", "own-mix", "--op", "own60")
    for n_workers in (1, 2):
        out = tmp_path / f"{n_workers}.lmdb"
        result = run("degrade", native, *more, "--out", out, "--workers", n_workers)
        assert result.exit_code == 0, result.output
    assert records(tmp_path / "1.lmdb") == records(out)
    assert about(out)["options"]["operations"] == hashlib.sha256(own.read_bytes()).hexdigest()
    assert about(out)["options"]["ops"] == ["own-mix", "own:60"]
    drawn = set()
    for source, record, sample in zip(
        records(native), records(out), rows(out / "manifest.jsonl"), strict=True
    ):
        first, second = sample["operations"]
        drawn.add(first["percent"])
        known = {"in_table_ix": False, "stage": "native"}
        assert first == {"op": "own-mix", "percent": first["percent"], **known}
        assert second == {"op": "own:60", "percent": 60, **known}
        expected = darkened(darkened(pixels(source[1], tmp_path), first["percent"]), 60)
        made = pixels(record[1], tmp_path).astype(int)
        assert np.abs(made - expected).max() <= 1  # a half may be rounded either way
        assert np.mean(made != expected) < 0.02
    assert drawn == {10, 30, 60}
    assert list(verify([str(out)], n_workers=1)) == []


def test_a_file_that_changed_cannot_go_on_with_what_it_began(
    native: Path, own: Path, tmp_path: Path, run: Run
) -> None:
    arguments = ("degrade", native, "--operations", own, "--op", "own10", "--op", "sc:-99")
    out = tmp_path / "x"
    assert "no input gave a sample" in error_of(run(*arguments, "--out", out), 1)
    before = hashlib.sha256(own.read_bytes()).hexdigest()
    own.write_text(VIGNETTE.replace("np.rint", "np.floor"), "utf-8")
    after = hashlib.sha256(own.read_bytes()).hexdigest()
    result = run(*arguments, "--out", out)
    assert error_of(result, 1) == (
        f"{out}.partial was begun by another command: options.operations was '{before}', is now "
        f"'{after}'. Run the command that began it, delete it, or choose another --out."
    )


def test_folders_are_treated_by_ones_own_operation(own: Path, tmp_path: Path, run: Run) -> None:
    source = write_image(tmp_path / "in/a.png", size=(33, 20))
    out = tmp_path / "in-own30"
    result = run("degrade", tmp_path / "in", "--operations", own, "--op", "own:30")
    assert result.output == f"{out}: 1 file after own:30\n"
    with Image.open(source) as image, Image.open(out / "a.png") as made:
        expected = darkened(np.asarray(image), 30).astype(int)
        assert np.abs(np.asarray(made) - expected).max() <= 1
    described = json.loads((out / "degrade.json").read_text("utf-8"))
    assert described["operations"] == hashlib.sha256(own.read_bytes()).hexdigest()


def test_the_list_shows_it_too(own: Path, run: Run) -> None:
    result = run("degrade", "--list", "--operations", own)
    cells = ("`own:10`, `own-mix`", "vignette (not in Table IX)", "percent", "10, 30, 60")
    expected = f"| {' | '.join(cells)} | a whole number from 0 to 100 |"
    assert result.stdout.splitlines()[-1] == expected


def test_preview_shows_every_value_at_its_own_scale(
    own: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "me.png", 20, size=(96, 90))
    result = run("degrade", "--preview", "me.png", "--operations", own)
    # Table IX: 3 kernels thrice, 8 gammas, 31 qualities, 23 scales, and 7 of the ratios.
    others = [op for code, op in OPERATIONS.items() if code not in {*TABLE_IX, "gop", "fps"}]
    n_results = 9 + 8 + 31 + 23 + 7 + sum(len(op.parameter.shown) for op in others) + 3
    assert result.output == f"{n_results} results in me-preview.png\n"
    with Image.open(tmp_path / "me-preview.png") as drawn, Image.open(tmp_path / "me.png") as file:
        assert (drawn.format, drawn.mode) == ("PNG", "RGB")
        sheet, image = np.asarray(drawn), np.asarray(file)
    scaled = [cv2.resize(image, None, fx=factor, fy=factor) for factor in (1.9, 0.55)]
    mine = [
        read_chain([f"own:{percent}"], read_own(own))(image, seed=0, key="").image
        for percent in (10, 30, 60)
    ]
    for made in (image, cv2.blur(image, (7, 7)), *scaled, *mine):
        top, left = (max(0, (n - 168) // 2) for n in made.shape[:2])
        tile = np.asarray(made[top : top + 168, left : left + 168], np.uint8)
        # A row of the middle, which is found as bytes, says where the tile must lie.
        middle = len(tile) // 2
        places = [(y, line.tobytes().find(tile[middle].tobytes())) for y, line in enumerate(sheet)]
        found = [(y - middle, at // 3) for y, at in places if at >= 0]
        assert any(
            np.array_equal(sheet[y : y + len(tile), x : x + tile.shape[1]], tile) for y, x in found
        )


FILTER = '"own": Filter("own"'
WRONG = [
    (None, "cannot be read: No such file or directory."),
    ("", "OPERATIONS must be a dict of codes and operations."),
    ("OPERATIONS = {}", "OPERATIONS must be a dict of codes and operations."),
    ("OPERATIONS = ['own']", "OPERATIONS must be a dict of codes and operations."),
    (
        VIGNETTE.replace(FILTER, '"jp": Filter("jp"'),
        "an operation 'jp' exists already. Rename yours.",
    ),
    (
        VIGNETTE.replace(FILTER, '"other": Filter("own"'),
        "OPERATIONS['other'] must have the code 'other'.",
    ),
    (
        VIGNETTE.replace(FILTER, '"Own": Filter("Own"'),
        "code 'Own' must be lower-case letters, such as 'vig'.",
    ),
    (
        VIGNETTE.replace(FILTER, '"me3": Filter("me3"'),
        "code 'me3' must be lower-case letters, such as 'vig'.",
    ),
    (
        VIGNETTE.replace("(10, 30, 60)", "()"),
        "OPERATIONS['own'] must list values that are numbers.",
    ),
    ("OPERATIONS = {'own': 7}", "OPERATIONS['own'] is no operation, such as a Filter."),
]
BROKEN = [
    ("import nowhere", "1: ModuleNotFoundError: No module named 'nowhere'."),
    ("OPERATIONS = {", "1: SyntaxError: '{' was never closed."),
    ("\nOPERATIONS = 1 / 0", "2: ZeroDivisionError: division by zero."),
    ("import sys\n\nsys.exit(0)", "3: SystemExit: 0."),
    ("import json\njson.loads('')", "2: JSONDecodeError: Expecting value: "),
    ("def f():\n    return f()\nf()", "2: RecursionError: maximum recursion depth exceeded"),
    (f"{MUTE}raise Mute", "6: Mute. Correct the code of the operation."),
    ("raise GeneratorExit", "1: GeneratorExit. Correct"),
    ("-" * 100_000 + "1", " cannot be compiled: "),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_file_that_defines_no_operation_is_refused(
    native: Path, tmp_path: Path, run: Run, text: str | None, message: str
) -> None:
    path, out = tmp_path / "wrong.py", tmp_path / "x"
    if text is not None:
        path.write_text(text, "utf-8")
    for arguments in (("--list",), ("--op", "jp60", native, "--out", out)):
        assert error_of(run("degrade", "--operations", path, *arguments), 2) == f"{path}: {message}"
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_an_error_of_ones_own_code_is_named_by_file_and_line(
    tmp_path: Path, run: Run, text: str, message: str
) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text, "utf-8")
    error = error_of(run("degrade", "--operations", path, "--list"), 1)
    assert error.startswith(f"{path}:{message}")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [("raise KeyboardInterrupt", 130, "Interrupted."), ("raise MemoryError", 1, "Out of memory")],
)
def test_what_may_happen_in_any_code_is_no_error_of_ones_own(
    tmp_path: Path, run: Run, text: str, code: int, words: str
) -> None:
    (tmp_path / "own.py").write_text(text)
    done = run("degrade", "--operations", tmp_path / "own.py", "--list")
    assert (done.exit_code, words in done.stderr) == (code, True)
    assert "Correct the code" not in done.stderr


@pytest.mark.parametrize(
    "fault", ["1 / 0", "sys.exit(0)", "np.zeros((2, 2)) @ np.zeros(3)", "raise Mute"]
)
def test_an_operation_that_fails_ends_the_command_with_its_place(
    native: Path, own: Path, tmp_path: Path, run: Run, fault: str
) -> None:
    broken = f"{MUTE}{VIGNETTE}".replace("return ", f"{fault}\n    return ", 1)
    own.write_text(broken, "utf-8")
    line = broken[: broken.rindex(fault)].count("\n") + 1
    write_image(tmp_path / "in/a.png", 1)
    for source in (native, tmp_path / "in"):
        out = tmp_path / f"{source.name}-treated"
        done = run("degrade", source, "--operations", own, "--op", "own:30", "--out", out)
        message = error_of(done, 1)
        assert message.startswith(f"{own}:{line}: "), message
        assert message.endswith("Correct the code of the operation.")
        assert not out.exists()


def test_a_rule_that_fails_is_named_by_its_place(
    native: Path, own: Path, tmp_path: Path, run: Run
) -> None:
    own.write_text(VIGNETTE.replace("0 <= percent <= 100", "1 / 0"), "utf-8")
    done = run("degrade", native, "--operations", own, "--op", "own:1", "--out", tmp_path / "x")
    assert error_of(done, 1).startswith(f"{own}:8: ZeroDivisionError: division by zero.")


def test_a_file_that_is_no_python_is_refused(own: Path, tmp_path: Path, run: Run) -> None:
    path = own.rename(tmp_path / "own.txt")
    message = error_of(run("degrade", "--operations", path, "--list"), 2)
    assert message == f"{path} is no Python file: its name must end in .py."


def test_without_the_file_nobody_knows_the_operation(native: Path, own: Path, run: Run) -> None:
    assert re.match(
        f"No operation named 'own'. Known: {', '.join(OPERATIONS)}",
        error_of(run("degrade", native, "--op", "own-mix"), 1),
    )
    message = error_of(run("degrade", native, "--op", "own:200", "--operations", own), 2)
    assert message == "'own:200': percent must be a whole number from 0 to 100, got 200."


@pytest.mark.slow
def test_a_changed_file_of_the_same_time_and_size_does_what_it_says(
    native: Path, own: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    found = set()
    for divisor in (200, 300):
        own.write_text(VIGNETTE.replace("/ 200", f"/ {divisor}"), "utf-8")
        os.utime(own, (10**9, 10**9))
        out = tmp_path / f"{divisor}.lmdb"
        more = ("--operations", str(own), "--op", "own60", "--limit", "1", "--out", str(out))
        arguments = [*HFFKIT, "degrade", str(native), *more]
        subprocess.run(arguments, check=True, capture_output=True, env=environment)
        found.add(about(out)["pixels_sha256"])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("result", "got"),
    [
        ("image / 2", "(22, 31, 3) of float64"),
        ("image[..., 0]", "(22, 31) of uint8"),
        ("image[:0]", "(0, 31, 3) of uint8"),
        ("None", "NoneType"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--size", 16)])
def test_an_operation_that_returns_no_image_is_refused(
    native: Path, tmp_path: Path, run: Run, result: str, got: str, more: tuple[object, ...]
) -> None:
    path = tmp_path / "own.py"
    path.write_text(re.sub("return np.rint.*", f"return {result}", VIGNETTE), "utf-8")
    told = run("degrade", native, "--operations", path, "--op", "own10", "--workers", 1,
               "--out", tmp_path / "x", *more)  # fmt: skip
    message = f"operation own:10 must return (H, W, 3) uint8, got {got}."
    assert error_of(told, 2) == message
