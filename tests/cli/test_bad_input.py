import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result
from makers.trees import (
    about,
    all_files,
    build_corpus,
    encoded_data,
    ffpp_paths,
    png_that_claims,
    records,
    rows,
    touch,
    write_clip,
    write_image,
)
from PIL import Image

from hffkit.cli.main import main
from hffkit.corpus.build import BuildWork, prepare
from hffkit.corpus.verify import verify
from hffkit.errors import StorageError
from hffkit.sources.folders import FolderOptions
from hffkit.sources.table import SOURCES
from hffkit.storage.parts import PartWriter

Run = Callable[..., Result]

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "folder": ("--real", "a", "--fake", "b"),
    "list": ("--list", "list.txt", "--fake", "0"),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of three images each."""
    for name in "ab":
        for number in range(3):
            write_image(tmp_path / f"in/{name}/{number}.png", number + 10 * ord(name))
    return tmp_path / "in"


def _build(run: Run, root: Path, out: Path, *more: object) -> Result:
    return run("build", "folder", "--src", root, *ARGUMENTS["folder"], "--out", out,
               "--workers", 1, *more)  # fmt: skip


def _told(result: Result, code: int) -> str:
    """Return what a command printed on stderr, after checking that it ended as it should."""
    assert result.exit_code == code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stderr


def _error(result: Result) -> str:
    """Return the one line with which a command failed."""
    lines = _told(result, 1).splitlines()
    assert lines[-1].startswith("Error: ")
    assert [line for line in lines if not line.startswith("note: ")] == lines[-1:]
    return lines[-1].removeprefix("Error: ")


# where things should be -------------------------------------------------------------------------


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_missing_root_is_named(tmp_path: Path, run: Run, source: str) -> None:
    root, out = tmp_path / "nowhere", tmp_path / "x.lmdb"
    result = run("build", source, "--src", root, "--out", out, *ARGUMENTS.get(source, ()))
    assert _error(result) == f"{root}: no such folder. --src must be the dataset's root."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_root_that_is_a_file_is_named(tmp_path: Path, run: Run, source: str) -> None:
    touch(tmp_path, "file")
    out = tmp_path / "x.lmdb"
    result = run(
        "build", source, "--src", tmp_path / "file", "--out", out, *ARGUMENTS.get(source, ())
    )
    assert _error(result) == f"{tmp_path}/file: cannot be read: Not a directory."


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"list"}))
def test_a_root_with_nothing_in_it_writes_nothing(tmp_path: Path, run: Run, source: str) -> None:
    (tmp_path / "in").mkdir()
    out = tmp_path / "x.lmdb"
    result = run(
        "build", source, "--src", tmp_path / "in", "--out", out, *ARGUMENTS.get(source, ())
    )
    assert re.search(r"in\b.*(no|not found|cannot be read)", _error(result), re.IGNORECASE)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_that_exists_is_left_alone(images: Path, tmp_path: Path, run: Run) -> None:
    touch(tmp_path, "file", "folder/precious")
    for name in ("file", "folder"):
        message = _error(_build(run, images, tmp_path / name))
        assert message == f"{tmp_path}/{name} already exists. Delete it or choose another --out."
    assert {path.name for path in tmp_path.iterdir()} == {"in", "file", "folder"}


def test_an_output_below_a_file_is_refused(images: Path, tmp_path: Path, run: Run) -> None:
    touch(tmp_path, "file")
    message = _error(_build(run, images, tmp_path / "file/x.lmdb"))
    assert message == f"{tmp_path}/file/x.lmdb.partial: cannot be written: Not a directory."


def test_an_output_with_too_long_a_name_is_refused(images: Path, tmp_path: Path, run: Run) -> None:
    told = _told(_build(run, images, tmp_path / ("x" * 300)), 2)
    assert "'--out': has a name of 300 bytes, more than 255." in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "0"], "--size must be from 1 to 4096, got 0"),
        (["--split-ratio", "3/4"], "must be train/val/test such as 75/5/20, got '3/4'"),
        (["--split-ratio", "0/0/0"], "must be train/val/test such as 75/5/20, got '0/0/0'"),
        (["--group-by", "("], "--group-by '(' is no regular expression"),
        (["--frames", "some"], "all, every:K, paper or cao, got 'some'"),
        (["--frames", "5/9"], "FAKE must be at most REAL"),
        (["--boxes", "nowhere.json"], "nowhere.json: cannot be read: No such file"),
        (["--split", "val", "--split-ratio", "1/0/0"], "nothing in split val"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named_before_anything_is_written(
    images: Path, tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    result = _build(run, images, tmp_path / "x.lmdb", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "folder", "--shard", "2/2"], "'2/2' must be I/N with I from 0 to N-1"),
        (["build", "folder", "--size", "big"], "'big' must be native or a number of pixels"),
        (["build", "folder", "--class", "x"], "'x' must be NAME=FOLDER"),
        (["build", "folder", "--workers", "0"], "0 is not in the range x>=1"),
        (["build", "folder", "--crop", "nose"], "'nose' is not one of 'face', 'none'"),
        (["build", "list"], "Missing option '--list'"),
        (["build", "folders"], "No such command 'folders'"),
        (["pack", "x.lmdb"], "Missing option '--out'"),
        (["merge", "--out", "x.lmdb"], "Missing argument 'CORPUS...'"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_native_is_the_size_that_images_have_by_default(
    images: Path, tmp_path: Path, run: Run
) -> None:
    _told(_build(run, images, tmp_path / "default"), 0)
    _told(_build(run, images, tmp_path / "native", "--size", "native"), 0)
    assert about(tmp_path / "native")["size"] is None
    assert all_files(tmp_path / "native") == all_files(tmp_path / "default")


# names ------------------------------------------------------------------------------------------


def test_names_with_spaces_and_of_any_script_are_kept(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "mit Leerzeichen und \N{SNOWMAN}", tmp_path / "aus gabe.lmdb"
    names = [
        "a/with space.png",
        "a/\u65e5\u672c\u8a9e/\u00fcn\u00ef.png",
        "b/tab\tnew\nline.png",
        "b/'\"&;.png",
    ]
    for number, name in enumerate(names):
        write_image(root / name, number)
    write_clip(root / "a/\u00e9 t\u00e9.mp4", n_frames=2)
    result = _build(run, root, out, "--frames", "1", "--crop", "none")
    assert _told(result, 0) == ""
    stored = {key.decode()[9:] for key, _ in records(out)}
    assert stored == {*names, "a/\u00e9 t\u00e9.mp4/0001"}
    assert {row["source"] for row in rows(out / "manifest.jsonl")} == {
        *names,
        "a/\u00e9 t\u00e9.mp4",
    }
    assert list(verify([str(out)], n_workers=1)) == []


def test_a_name_that_is_not_utf8_is_recorded(images: Path, tmp_path: Path, run: Run) -> None:
    shutil.copy(images / "a/0.png", os.fsdecode(os.fsencode(images) + b"/a/\xff\xfe.png"))
    out = tmp_path / "x.lmdb"
    _told(_build(run, images, out), 3)
    (failure,) = rows(out / "failures.jsonl")
    assert failure == {
        "frame": None,
        "kind": "unreadable",
        "path": r"a/\udcff\udcfe.png",
        "reason": "the file's name is not UTF-8",
    }
    assert len(records(out)) == 6


def test_a_video_whose_name_is_not_utf8_is_recorded(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "in/original_sequences/youtube/c23/videos"
    write_clip(folder / "000.mp4", n_frames=2)
    shutil.copy(folder / "000.mp4", os.fsdecode(os.fsencode(folder) + b"/\xff.mp4"))
    out = tmp_path / "x.lmdb"
    result = run(
        "build", "ff++", "--src", tmp_path / "in", "--frames", 1, "--out", out, "--workers", 1
    )
    _told(result, 3)
    assert [failure["kind"] for failure in rows(out / "failures.jsonl")] == ["unreadable"]
    assert len(records(out)) == 1


def test_a_frame_whose_name_is_not_utf8_is_recorded(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "in/face/real/c23/000"
    write_image(folder / "0.png")
    shutil.copy(folder / "0.png", os.fsdecode(os.fsencode(folder) + b"/\xff1.png"))
    out = tmp_path / "x.lmdb"
    result = run("build", "ff++", "--src", tmp_path / "in", "--out", out, "--workers", 1)
    _told(result, 3)
    assert len(records(out)) == 1
    assert len(rows(out / "failures.jsonl")) == 1


def test_a_root_whose_name_is_not_utf8_is_read(images: Path, tmp_path: Path, run: Run) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    images.rename(root)
    _told(_build(run, root, tmp_path / "x.lmdb"), 0)
    assert len(records(tmp_path / "x.lmdb")) == 6


def test_a_key_longer_than_lmdb_holds_is_recorded(images: Path, tmp_path: Path, run: Run) -> None:
    def place(n_bytes: int) -> str:  # the key is eight digits and an underscore longer
        middle = "d" * 200 + "/" + "e" * 200 + "/"
        return f"a/{middle}".ljust(n_bytes - 4, "f") + ".png"

    fits, too_long = place(511 - 9), place(512 - 9)
    write_image(images / fits, 1)
    write_image(images / too_long, 2)
    out = tmp_path / "x.lmdb"
    _told(_build(run, images, out), 3)
    assert fits in {key.decode()[9:] for key, _ in records(out)}
    (failure,) = rows(out / "failures.jsonl")
    assert failure["path"] == too_long
    assert failure["reason"] == "its key would have 512 bytes, LMDB holds 511; shorten it"
    assert len(records(out)) == 7


# images and videos that cannot be read --------------------------------------------------------


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good images and videos, odd ones, and many that are none."""
    root = tmp_path_factory.mktemp("bad")
    clip = write_clip(root / "a/good.mp4", n_frames=4)
    whole = clip.read_bytes()
    (root / "a/empty.mp4").write_bytes(b"")
    (root / "a/short.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "a/text.mp4").write_text("404: not found\n")
    picture = write_image(root / "b/good.jpg", 1, size=(200, 200)).read_bytes()
    (root / "b/short.jpg").write_bytes(picture[: len(picture) // 2])
    (root / "b/text.png").write_text("404: not found\n")
    (root / "b/empty.jpg").write_bytes(b"")
    (root / "b/huge.png").write_bytes(png_that_claims(60000, 60000))
    with Image.open(root / "b/good.jpg") as image:
        image.convert("L").save(root / "b/grey.jpg")
        image.convert("CMYK").save(root / "b/cmyk.jpg")
        image.convert("RGBA").save(root / "b/alpha.png")
        image.convert("I;16").save(root / "b/sixteen.png")
    return root


UNREADABLE = {
    "a/empty.mp4": "empty file",
    "a/short.mp4": "no video",
    "a/text.mp4": "no video",
    "b/short.jpg": "cut short: the JPEG's end is missing",
    "b/text.png": "no image: starts with '404: not'",
    "b/empty.jpg": "empty file",
    "b/huge.png": "too large",
}


def test_what_cannot_be_read_is_recorded_and_the_rest_is_built(
    bad: Path, tmp_path: Path, run: Run
) -> None:
    out = tmp_path / "x.lmdb"
    result = _build(run, bad, out, "--frames", "2", "--crop", "none")
    assert _told(result, 3) == ""
    failures = {row["path"]: row for row in rows(out / "failures.jsonl")}
    for path, reason in UNREADABLE.items():
        assert failures[path]["kind"] == "unreadable"
        assert failures[path]["reason"].startswith(reason)
        assert "Traceback" not in failures[path]["reason"]
    assert set(failures) == set(UNREADABLE)
    odd = {"b/grey.jpg", "b/cmyk.jpg", "b/alpha.png", "b/sixteen.png"}
    stored = {key.decode()[9:]: value for key, value in records(out)}
    assert set(stored) == {"a/good.mp4/0001", "a/good.mp4/0003", "b/good.jpg", *odd}
    for name in odd:
        assert encoded_data(stored[name])[0] == (bad / name).read_bytes()
    assert "inputs without a complete result: 7 unreadable (see" in result.output
    assert about(out)["failures"] == {"unreadable": 7}
    assert list(verify([str(out)], n_workers=1)) == []


def test_max_failures_says_how_many_are_too_many(images: Path, tmp_path: Path, run: Run) -> None:
    touch(images, "a/empty.png", "b/empty.jpg", "b/empty.mp4")
    _told(_build(run, images, tmp_path / "2", "--max-failures", 2), 3)
    _told(_build(run, images, tmp_path / "3", "--max-failures", 3), 0)
    assert records(tmp_path / "2") == records(tmp_path / "3")


def test_a_frame_without_a_face_is_no_failure(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "in/a/me.png", size=(200, 200))
    write_clip(tmp_path / "in/b/clip.mp4", n_frames=2)
    Image.new("RGB", (90, 90), (10, 90, 160)).save(tmp_path / "in/a/wall.png")
    out = tmp_path / "x.lmdb"
    result = _build(run, tmp_path / "in", out, "--crop", "face", "--frames", "1")
    _told(result, 0)
    kinds = {row["path"]: row["kind"] for row in rows(out / "failures.jsonl")}
    assert kinds["a/wall.png"] == "no-face"
    assert set(kinds.values()) == {"no-face"}


def test_a_bad_member_of_a_family_does_not_take_the_others_down(tmp_path: Path, run: Run) -> None:
    root, out = tmp_path / "in", tmp_path / "x.lmdb"
    paths = ffpp_paths("000", "000_003")
    write_clip(root / paths[0])
    write_clip(root / paths[1], crf=30)
    for path in paths[2:5]:
        (root / path).parent.mkdir(parents=True)
    (root / paths[2]).write_bytes(b"")
    (root / paths[3]).write_text("404: not found\n")
    whole = (root / paths[1]).read_bytes()
    (root / paths[4]).write_bytes(whole[: len(whole) // 2])
    result = run("build", "ff++", "--src", root, "--frames", "2", "--out", out, "--workers", 1)
    _told(result, 3)
    assert {row["path"] for row in rows(out / "failures.jsonl")} == set(paths[2:5])
    assert {row["cls"] for row in rows(out / "manifest.jsonl")} == {"Real", "Deepfakes"}


def test_no_sample_at_all_is_no_success(tmp_path: Path, run: Run) -> None:
    touch(tmp_path, "in/a/0.png", "in/b/0.png")
    result = _build(run, tmp_path / "in", tmp_path / "x.lmdb")
    assert result.exit_code in (1, 3)
    assert "unreadable" in result.output or "nothing" in result.output


# where one cannot write -------------------------------------------------------------------------


def _mount(path: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "hffkit-test", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    if not shutil.which("mount"):
        pytest.skip("no mount command")
    _mount(path, "size=4m")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def _fill(disk: Path, free: int) -> None:
    """Leave so many bytes of a disk, whole pages."""
    stat = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(stat.f_bavail * stat.f_bsize - free))


def _noise(root: Path, *, n: int, size: tuple[int, int]) -> Path:
    for number in range(n):
        path = root / f"a/{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("RGB", size, os.urandom(3 * size[0] * size[1])).save(path)
    write_image(root / "b/0.png")
    return root


def _part_size(root: Path, scratch: Path) -> int:
    """Return the bytes of the one part that a folder's images make."""
    job = prepare(FolderOptions("folder", root, real=("a",), fake=("b",)))
    (unit,) = job.listing.units
    with PartWriter(scratch / "unit.part") as part:
        BuildWork(job.settings)(unit, part)
    return (scratch / "unit.part").stat().st_size


def _fails_until_there_is_room(root: Path, disk: Path, run: Run, *, has_part: bool) -> None:
    """Check that a build on a full disk says so, twice, and goes on when it has room."""
    out = disk / "x.lmdb"
    done_at = []
    for _ in range(2):
        message = _error(_build(run, root, out))
        assert re.search("No space left on device|Free some space", message)
        assert not out.exists()
        parts = list((disk / "x.lmdb.partial").glob("parts/*.part"))
        assert len(parts) == has_part
        done_at.append([path.stat().st_mtime_ns for path in parts])
    assert done_at[0] == done_at[1]  # what was finished was not done again
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=12m", str(disk)], check=True)
    _told(_build(run, root, out), 0)
    assert [path.name for path in disk.iterdir()] == ["x.lmdb"]
    elsewhere = build_corpus("folder", root, root.parent / "y.lmdb", real=("a",), fake=("b",))
    assert about(out)["content_sha256"] == about(elsewhere)["content_sha256"]


PAGE = 4096


# A process of its own: memory mapped on a full disk is deadly. Each time a page more is free.
FULL = f"""
import os, shutil, sys
from click.testing import CliRunner
from hffkit.cli.main import main
filler, out, *words = sys.argv[1:]
for _ in range(3):
    done = CliRunner().invoke(main, [*words, "--out", out], catch_exceptions=False)
    print(done.exit_code, done.output, end="")
    assert not os.path.exists(out)
    shutil.rmtree(out + ".partial", ignore_errors=True)
    os.truncate(filler, os.path.getsize(filler) - {PAGE})
"""


def test_a_disk_that_is_full_at_the_start_is_told_of(images: Path, disk: Path) -> None:
    _fill(disk, 0)
    words = [disk / "filler", disk / "x.lmdb", "build", "folder", "--src", images]
    command = [sys.executable, "-c", FULL, *map(str, words), *ARGUMENTS["folder"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(re.match("1 Error: .*No space left on device", line) for line in lines)


@pytest.mark.parametrize(
    ("n", "size", "room"),
    [(20, (190, 200), -PAGE * 100), (20, (190, 200), PAGE * 100), (250, (8, 8), PAGE * 10)],
    ids=["under-a-part", "under-the-records", "under-the-manifest"],
)
def test_a_disk_that_fills_up_loses_nothing(
    tmp_path: Path, disk: Path, run: Run, n: int, size: tuple[int, int], room: int
) -> None:
    root = _noise(tmp_path / "in", n=n, size=size)
    _fill(disk, _part_size(root, tmp_path) + room)
    _fails_until_there_is_room(root, disk, run, has_part=room > 0)


def test_a_folder_that_cannot_be_written_is_named(images: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.geteuid() == 0:  # whom permissions do not stop
        _mount(folder, "ro")
        reason = "Read-only file system"
    else:
        folder.chmod(0o555)
        reason = "Permission denied"
    try:
        message = _error(_build(run, images, folder / "x.lmdb"))
        corpus = build_corpus("folder", images, tmp_path / "y.lmdb", real=("a",), fake=("b",))
        packing = _error(run("pack", corpus, "--out", folder / "p.lmdb", "--workers", 1))
        sheet = _error(run("inspect", corpus, "--out", folder / "s.png"))
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)
    assert message == f"{folder}/x.lmdb.partial: cannot be written: {reason}."
    assert packing == f"{folder}/p.lmdb.partial: cannot be written: {reason}."
    assert sheet == f"{folder}/s.png: cannot be written: {reason}."


def test_sources_that_cannot_be_written_are_read(images: Path, tmp_path: Path, run: Run) -> None:
    before = all_files(images)
    for path in (images / "a", images / "b", images):
        path.chmod(0o555)
    _told(_build(run, images, tmp_path / "x.lmdb"), 0)
    assert all_files(images) == before
    for path in (images, images / "a", images / "b"):
        path.chmod(0o755)


# work that was begun ----------------------------------------------------------------------------


@pytest.fixture
def begun(images: Path, tmp_path: Path, run: Run) -> Path:
    """The output of a build that could not go on after its parts."""

    def fail(folder: Path) -> None:
        raise StorageError(f"{folder}: cannot be written")

    out = tmp_path / "x.lmdb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hffkit.execution.assemble.CorpusWriter", fail)
        assert "x.lmdb.partial/corpus: cannot be written" in _error(_build(run, images, out))
    return out


def test_another_command_does_not_touch_what_one_began(
    images: Path, begun: Path, tmp_path: Path, run: Run
) -> None:
    partial = tmp_path / "x.lmdb.partial"
    before = all_files(partial)
    message = _error(_build(run, images, begun, "--seed", 3, "--size", 16))
    assert message.startswith(f"{partial} was begun by another command: ")
    for difference in (
        "layout was 'native', is now 'packed'",
        "options.seed was 0, is now 3",
        "options.size was null, is now 16",
    ):
        assert difference in message
    assert "Run the command that began it, delete it, or choose another --out" in message
    assert "options.shard" not in message
    message = _error(_build(run, images, begun, "--shard", "0/2"))
    assert "shard was null, is now [0, 2]" in message
    corpus = build_corpus("folder", images, tmp_path / "y.lmdb", real=("a",), fake=("b",))
    message = _error(run("pack", corpus, "--out", begun))
    assert "verb was 'build', is now 'pack'" in message
    assert all_files(partial) == before
    assert not begun.exists()


def test_the_same_command_goes_on_with_what_it_began(
    images: Path, begun: Path, run: Run, tmp_path: Path
) -> None:
    _told(_build(run, images, begun), 0)
    assert len(records(begun)) == 6
    assert not (tmp_path / "x.lmdb.partial").exists()


def test_one_output_has_one_command_at_a_time(images: Path, begun: Path, run: Run) -> None:
    import fcntl

    with begun.with_name("x.lmdb.partial").joinpath("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        message = _error(_build(run, images, begun))
    assert message.endswith("another hffkit is at work there. Wait, or choose another --out.")


# the front door ---------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(images: Path, tmp_path: Path, run: Run) -> None:
    before = all_files(tmp_path)
    out = tmp_path / "x.lmdb"
    result = _build(run, images, out, "--dry-run")
    assert re.fullmatch(r"building \S+ and 5 more to measure \.\.\.\n", _told(result, 0))
    assert "6 files, 1 family or block of images\nabout 6 samples, " in result.stdout
    assert re.search(r"[\d.]+ MB .*, [\d.]+ s\n", result.stdout)
    result = _build(run, images, out, "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert (found["n_files"], found["n_samples"]) == (6, 6)
    assert found["n_bytes"] == pytest.approx(sum(map(len, before.values())), rel=0.9)
    assert all_files(tmp_path) == before


def test_an_estimate_of_many_images_builds_some_of_them(tmp_path: Path, run: Run) -> None:
    for number in range(120):
        name = "ab"[number % 2]
        write_image(tmp_path / f"in/{name}/{number:03d}.png", number, size=(24, 24))
    result = _build(run, tmp_path / "in", tmp_path / "x.lmdb", "--dry-run", "--json")
    assert re.search(r"building \S+ and 31 more to measure", _told(result, 0))
    found = json.loads(result.stdout)
    assert len(found["measured_on"]) == 32
    assert {Path(path).parent.name for path in found["measured_on"]} == {"a", "b"}
    whole = _build(run, tmp_path / "in", tmp_path / "x.lmdb", "--json")
    n_bytes = sum(len(value) for _, value in records(tmp_path / "x.lmdb"))
    assert found["n_samples"] == pytest.approx(json.loads(whole.stdout)["n_samples"], rel=0.05)
    assert found["n_bytes"] == pytest.approx(n_bytes, rel=0.5)  # parts have a manifest, too


def test_an_estimate_is_not_made_on_what_cannot_be_read(tmp_path: Path, run: Run) -> None:
    touch(tmp_path, "in/a/0.mp4", "in/a/1.mp4", "in/b/0.mp4")
    write_clip(tmp_path / "in/b/1.mp4", n_frames=2)
    result = _build(run, tmp_path / "in", tmp_path / "x.lmdb", "--dry-run", "--json")
    assert json.loads(result.stdout)["n_samples"] > 0


def test_json_is_all_that_stdout_holds(images: Path, tmp_path: Path, run: Run) -> None:
    touch(images, "c/0.png")
    result = _build(run, images, tmp_path / "x.lmdb", "--json")
    assert _told(result, 0) == "note: 1 other folder not read: c.\n"
    assert json.loads(result.stdout) == about(tmp_path / "x.lmdb")


def _commands(group: click.Group, name: str = "hffkit") -> Iterator[tuple[str, click.Command]]:
    yield name, group
    for child, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{name} {child}")
        else:
            yield f"{name} {child}", command


COMMANDS = dict(_commands(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(run: Run, name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert not command.hidden
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    for flag in ("--help", "-h"):
        result = run(*name.split()[1:], flag)
        assert result.exit_code == 0
        assert command.help.split("\n")[0].split()[0] in result.output
        assert all(
            max(p.opts, key=len) in result.output for p in command.params if p.opts[0][0] == "-"
        )


def test_the_commands_are_those_of_the_design() -> None:
    assert set(COMMANDS) >= {
        f"hffkit {verb}"
        for verb in ("pack", "degrade", "mix", "inspect", "verify", "merge", "demo")
    }
    assert {name.split()[2] for name in COMMANDS if name.startswith("hffkit build ")} == set(
        SOURCES
    )


def test_help_is_fast_for_it_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from hffkit.cli.main import main\n"
        "heavy = {'cv2', 'dlib', 'torch', 'numpy', 'av', 'lmdb'}\n"
        "for words in ('', 'build', 'build ff++', 'degrade', 'mix'):\n"
        "    main([*words.split(), '--help'], standalone_mode=False)\n"
        "    assert not heavy & set(sys.modules), words\n"
        "main(['--version'], standalone_mode=False)\n"
        "assert not heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage:") == 5
    assert "version" in done.stdout


def test_totals_of_the_paper_are_for_its_own_dataset(tmp_path: Path, run: Run) -> None:
    result = run("build", "dfdc", "--src", tmp_path, "--frames", "paper", "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert "only ff++ has them" in result.stderr
