"""Files that are no regular ones, or too large to be images: refused, never read."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from makers.runs import THREE, write_run
from makers.trees import face, write_clip, write_image
from PIL import Image

from hffkit.input_files import check_regular
from hffkit.media.image import MAX_BYTES


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def bound_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


def linked_pipe(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    path.symlink_to(pipe)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a named pipe"),
    "linked-pipe": (linked_pipe, "it is a named pipe"),
    "zeros": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "socket": (bound_socket, "it is a socket"),
    "gone": (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of images, one clip, and something of each kind named as image and video."""
    root = tmp_path / "tree"
    for shade, cls in ((0, "real"), (20, "fake")):
        for number in range(4):
            write_image(root / cls / f"{number}.png", 40 * number + shade, size=(48, 48))
    write_clip(root / "real/clip.mp4", n_frames=2)
    for name, (make, _) in KINDS.items():
        for suffix in ("jpg", "mp4"):
            inside = root / "fake" / f"{name}-{suffix}"
            inside.mkdir()
            make(inside / f"it.{suffix}")
    sparse(root / "real/sparse.png")
    return root


def expected(path: str) -> str:
    """Part of the reason for a file of the tree."""
    if path.endswith("sparse.png"):
        return f"too large: {MAX_BYTES + 1} bytes; at most {MAX_BYTES} are read"
    return KINDS[Path(path).parent.name.rpartition("-")[0]][1]


def test_build_and_predict_report_what_is_no_regular_file(
    tree: Path, tmp_path: Path, run: Run
) -> None:
    bad = {str(path.relative_to(tree)) for path in tree.glob("fake/*/it.*")} | {"real/sparse.png"}
    out = tmp_path / "x.lmdb"
    options = ("--real", "real", "--fake", "fake", "--crop", "none", "--frames", 2)
    result = run("build", "folder", "--src", tree, *options, "--out", out)
    assert result.exit_code == 3, result.output
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {row["path"] for row in failures} == bad
    for row in failures:
        assert expected(row["path"]) in row["reason"], row

    three = write_run(tmp_path / "run", THREE, size=64)
    result = run("predict", three, tree, "--whole", "--frames", 2, "--json")
    assert result.exit_code == 3
    problems = {
        os.path.relpath(row["path"], tree): row["problem"]
        for row in json.loads(result.stdout)["files"]
        if row["problem"]
    }
    assert problems.keys() == bad
    for path, problem in problems.items():
        assert expected(path) in problem


@pytest.mark.parametrize(("suffix", "op"), [("jpg", "jp:60"), ("mp4", "h264:40")])
def test_degrade_reports_what_is_no_regular_file(
    tree: Path, tmp_path: Path, run: Run, suffix: str, op: str
) -> None:
    for path in [path for path in tree.rglob("*.*") if path.suffix[1:] != suffix]:
        if not path.is_dir():
            path.unlink()
    if suffix == "jpg":
        write_image(tree / "real/good.jpg", 9, size=(48, 48))
    else:
        write_clip(tree / "real/clip.mp4", n_frames=2)
    bad = {str(path.relative_to(tree)) for path in tree.glob("fake/*/it.*")}
    assert len(bad) == len(KINDS)
    out = tmp_path / "out"
    result = run("degrade", tree, "--op", op, "--out", out)
    assert result.exit_code == 3, result.output
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert {row["path"] for row in failures} == bad
    for row in failures:
        assert expected(row["path"]) in row["reason"], row


def test_the_size_of_a_regular_file_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(face()).save(path)
    assert check_regular(path) == len(path.read_bytes())
    link = tmp_path / "link.png"
    link.symlink_to(path)
    assert check_regular(link) == path.stat().st_size
