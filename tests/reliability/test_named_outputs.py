"""Every option that names an output, with every kind of target: nothing of a user's is lost."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import click
import pytest
from click.testing import Result
from makers.trees import all_files, build_two_classes, write_image

from hffkit.cli.main import main
from hffkit.errors import StorageError
from hffkit.storage.staging import Partial, lock, partial_path, restore

Run = Callable[..., Result]

# By command and option: the other arguments. x.lmdb is a corpus, in a folder of images, run a run.
FILES = {
    "eval --html": "run --data x.lmdb",
    "eval --csv": "run --data x.lmdb",
    "predict --html": "run in",
    "predict --csv": "run in",
    "robustness --html": "run --data x.lmdb",
    "robustness --csv": "run --data x.lmdb",
    "audit --html": "x.lmdb",
    "audit --out": "x.lmdb",
    "inspect --out": "x.lmdb",
    "spectrum features --out": "x.lmdb",
    "spectrum plot --out": "x.lmdb",
    "spectrum eval --html": "run --data x.lmdb",
    "spectrum eval --csv": "run --data x.lmdb",
    "spectrum predict --html": "run in",
    "spectrum predict --csv": "run in",
}
PREVIEW = "degrade --preview in/a/0000.png"  # whose --out is a file, that of `degrade` a folder
FOLDERS = {
    "pack --out": "x.lmdb --workers 1",
    "subset --out": "x.lmdb --share 0.5",
    "degrade --out": "x.lmdb --op jp:60 --workers 1",
    "equalize --out": "x.lmdb --size 16 --workers 1",
    "mix --out": "x.lmdb x.lmdb",
    "merge --out": "x.lmdb",
    "explain --out": "run in",
    "train --out": "--data x.lmdb",
    "convert --out": "weights.h5",
    "unpack --out": "x.lmdb",
    "spectrum train --out": "--data x.lmdb --classifier logistic --workers 1",
    "run --out": "mini-x --data hff=x.lmdb",
    "demo --out": "",
}  # and `build SOURCE`


def options_of(group: click.Group, *names: str) -> Iterator[tuple[str, click.Option]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from options_of(command, *names, name)
        for param in command.params:
            if isinstance(param, click.Option):
                yield " ".join((*names, name, param.opts[0])), param


def test_every_option_that_names_an_output_is_tried_here() -> None:
    named = {
        name
        for name, option in options_of(main)
        if option.name in ("out", "html", "csv") and not name.startswith("build ")
    }
    assert named == {*FILES, *FOLDERS}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build_two_classes(folder, 4)
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"format": 1}')
    (tmp_path / "weights.h5").touch()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_text("mine")
    for name, target in {"link": "mine", "link.png": "mine", "dangling": "absent"}.items():
        (tmp_path / name).symlink_to(target)
    for ending in ("png", "npz", "html", "csv", "json"):
        (tmp_path / f"mine.{ending}").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(place: Path) -> dict[str, object]:
    links = {path.name: path.readlink() for path in place.iterdir() if path.is_symlink()}
    return {**all_files(place), **links, "": sorted(path.name for path in place.rglob("*"))}


def ending_of(command: str) -> str:
    return {"features": ".npz", "plot": ".png", "inspect": ".png", "degrade": ".png"}.get(
        command.split()[-2], ".html"
    )


def refused(run: Run, command: str, more: str, target: object, place: Path) -> str:
    *names, option = command.split()
    before = state(place)
    done = run(*names, *more.split(), option, str(target))
    assert done.exit_code in (1, 2), (command, target, done.output)
    assert state(place) == before, (command, target)
    return " ".join(done.output.split())


ALL_FILES = {**FILES, f"{PREVIEW} --out": ""}


@pytest.mark.parametrize("command", ALL_FILES)
def test_a_file_is_refused_where_something_could_be_lost(
    command: str, place: Path, run: Run
) -> None:
    more, ending = ALL_FILES[command], ending_of(command)
    for target, reason in {
        f"mine{ending}": "already exists",
        "in/a/0000.png": "already exists",
        "link.png": "symbolic link",
        "folder": "must be a",
        "x.lmdb/manifest.jsonl": "lies inside",
        f"x.lmdb/new{ending}": "lies inside",
        f"absent/new{ending}": "must be a file in an existing folder",
        f"/proc/new{ending}": "cannot be written",
        "/dev/full": "no file that can be replaced",
        "/dev/null": "no file that can be replaced",
        "-": "must be a",
    }.items():
        said = refused(run, command, more, target, place)
        others = ("must be an .npz file", "must be a .png file", "is the image itself")
        assert reason in said or any(other in said for other in others), (target, said)


@pytest.mark.parametrize("command", [name for name in FOLDERS if name != "run --out"])
def test_a_folder_is_refused_where_something_could_be_lost(
    command: str, place: Path, run: Run
) -> None:
    targets = ["mine", "folder", "link", "dangling", "/dev/full", "x.lmdb"]
    if command != "demo --out":
        targets.append("x.lmdb/new")
    for target in targets:
        refused(run, command, FOLDERS[command], target, place)


def test_builds_are_refused_where_something_could_be_lost(place: Path, run: Run) -> None:
    more = "--src in --real a --fake b --workers 1"
    for target in ("mine", "folder", "link", "dangling", "x.lmdb", "x.lmdb/new"):
        refused(run, "build folder --out", more, target, place)


def test_recipes_run_in_no_folder_of_others(place: Path, run: Run) -> None:
    more = FOLDERS["run --out"]
    assert "hffkit did not make" in refused(run, "run --out", more, "folder", place)


@pytest.mark.parametrize(
    "command", [*(n for n in FOLDERS if n not in ("run --out", "demo --out")), "build folder --out"]
)
def test_a_partial_folder_of_others_is_kept(command: str, place: Path, run: Run) -> None:
    more = FOLDERS.get(command, "--src in --real a --fake b --workers 1")
    (place / "new.partial/parts").mkdir(parents=True)
    (place / "new.partial/parts/mine").write_text("mine")
    (place / "other.partial").symlink_to("folder")
    for target, reason in {
        "new": "is the place for unfinished work, but hffkit did not make",
        "other": "is a symbolic link, and links are not followed",
    }.items():
        said = refused(run, command, more, target, place)
        # These lack fitting inputs here, which is said first.
        if command not in ("unpack --out", "mix --out", "explain --out"):
            assert f"{target}.partial {reason}" in said


def test_what_a_user_put_into_unfinished_work_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "x"
    with Partial(out, {"verb": "test"}) as partial:
        partial.make_product()
        (partial.path / "notes.txt").write_text("mine")
        partial.publish()
    assert all_files(tmp_path) == {"x.partial/notes.txt": b"mine"}
    assert out.is_dir()


def test_an_old_product_is_only_restored_from_unfinished_work(tmp_path: Path) -> None:
    (tmp_path / "x.partial/replaced").mkdir(parents=True)
    (tmp_path / "x.partial/replaced/mine").write_text("mine")
    (tmp_path / "x").mkdir()
    with pytest.raises(StorageError, match="hffkit did not make what is there"):
        restore(tmp_path / "x")
    assert all_files(tmp_path) == {"x.partial/replaced/mine": b"mine"}


def test_a_lock_neither_follows_a_link_nor_empties_a_file(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")
    lock(tmp_path).close()
    assert (tmp_path / "lock").read_text() == "mine"


def test_a_lock_that_was_removed_meanwhile_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = fcntl.flock

    def late(file: IO[str], how: int) -> None:
        taken(file, how)
        (tmp_path / "x/lock").unlink()  # by the process that had it before

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(StorageError, match="another hffkit is at work there"):
        lock(tmp_path / "x")


def test_a_folder_that_was_begun_and_lost_its_command_is_taken_over(tmp_path: Path) -> None:
    partial_path(tmp_path / "x").mkdir()
    (tmp_path / "x.partial/lock").touch()  # killed before it had its mark
    (tmp_path / "x.partial/command.json.tmp").write_text("{")
    with Partial(tmp_path / "x", {"verb": "test"}) as partial:
        partial.make_product()
        partial.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_outputs_may_be_on_another_file_system(place: Path, elsewhere: Path, run: Run) -> None:
    assert elsewhere.stat().st_dev != place.stat().st_dev
    for words in (
        ("inspect", "x.lmdb", "--out", elsewhere / "s.png"),
        ("merge", "x.lmdb", "--out", elsewhere / "y.lmdb"),
        ("inspect", elsewhere / "y.lmdb", "--out", elsewhere / "s.png"),  # which replaces it
    ):
        assert run(*words).exit_code == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["s.png", "y.lmdb"]


def test_a_sheet_is_drawn_again_until_somebody_changes_it(place: Path, run: Run) -> None:
    for _ in range(2):
        assert run("inspect", "x.lmdb", "--out", "s.png").exit_code == 0
    write_image(place / "s.png", 1)
    refused(run, "inspect --out", "x.lmdb", "s.png", place)


def test_a_folder_of_many_products_is_not_made_in_a_corpus(packed: Path, run: Run) -> None:
    before = sorted(packed.iterdir())
    for words in (("run", "mini-x", "--data", f"hff={packed}"), ("demo",)):
        done = run(*words, "--out", packed / "below")
        assert done.exit_code == 1
        assert f"Error: {packed / 'below'} lies inside {packed}, a corpus." in done.stderr
    assert sorted(packed.iterdir()) == before
