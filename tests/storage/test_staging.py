"""Unfinished work: who may resume it, and what gets its name when."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from hffkit.errors import StorageError
from hffkit.storage.staging import (
    JOURNAL_FILE,
    Partial,
    differences,
    partial_path,
    refuse_existing,
    restore,
    write_bytes_durably,
    write_durably,
)

COMMAND = {"verb": "build", "options": {"seed": 0}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.lmdb"


def fill(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "a").write_text(text, "utf-8")
    (folder / JOURNAL_FILE).touch()


def files_below(folder: Path) -> dict[str, str]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in paths}


def test_a_finished_product_gets_its_name_and_nothing_else_is_left(
    out: Path, tmp_path: Path
) -> None:
    with Partial(out, COMMAND) as partial:
        assert partial.path == partial_path(out) == tmp_path / "out.lmdb.partial"
        assert partial.part("x").parent == partial.parts
        assert partial.part("x").name == "x.part"
        assert not partial.is_complete
        partial.part("x").touch()
        fill(partial.product, "new")
        partial.publish()
    assert files_below(tmp_path) == {"out.lmdb/a": "new"}
    assert not partial.path.exists()


def test_unfinished_work_is_resumed_by_the_same_command_alone(out: Path) -> None:
    with Partial(out, COMMAND) as partial:
        partial.part("x").touch()
    other = {"verb": "build", "options": {"seed": 1}}
    with pytest.raises(StorageError, match=r"another command: options\.seed was 0, is now 1\. Run"):
        Partial(out, other)
    with Partial(out, dict(reversed(COMMAND.items()))) as again:
        assert again.part("x").exists()
        with pytest.raises(StorageError, match="another hffkit is at work there"):
            Partial(out, COMMAND)


def test_what_is_there_is_replaced_only_where_that_was_asked_for(out: Path, tmp_path: Path) -> None:
    fill(out, "old")
    with pytest.raises(StorageError, match="already exists"):
        Partial(out, COMMAND)
    refuse_existing(tmp_path / "other")
    with pytest.raises(StorageError, match=r"out\.lmdb already exists"):
        refuse_existing(out)
    with Partial(out, COMMAND, replaces=True) as partial:
        fill(partial.product, "new")
        assert files_below(out)["a"] == "old"
        partial.publish()
    assert files_below(tmp_path) == {"out.lmdb/a": "new"}


def test_unfinished_work_is_not_put_into_a_folder_of_others(out: Path) -> None:
    fill(out, "old")
    fill(partial_path(out), "of somebody else")
    for replaces in (False, True):
        with pytest.raises(StorageError, match=r"already exists|hffkit did not make what is there"):
            Partial(out, COMMAND, replaces=replaces)
    assert files_below(partial_path(out))["a"] == "of somebody else"
    assert not (partial_path(out) / "lock").exists()
    other = out.with_name("other.lmdb")
    fill(partial_path(other), "of somebody else")
    with pytest.raises(StorageError, match="hffkit did not make what is there"):
        refuse_existing(other)


def test_work_of_a_command_that_cannot_be_read_is_refused(out: Path) -> None:
    with Partial(out, COMMAND) as partial:
        (partial.path / "command.json").write_text("{", "utf-8")
    with pytest.raises(StorageError, match=r"(?s)command\.json: .*Delete "):
        Partial(out, COMMAND)


def test_folders_above_the_work_are_made(tmp_path: Path) -> None:
    with Partial(tmp_path / "a/b/out", COMMAND) as partial:
        assert partial.parts.is_dir()


def test_a_file_system_without_locks_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(StorageError, match=r"supports no locks \(No locks available\)"):
        Partial(out, COMMAND)


def test_what_lies_at_the_place_of_the_lock_is_named(out: Path) -> None:
    with Partial(out, COMMAND) as partial:
        pass
    lock = partial.path / "lock"
    for make in (os.mkfifo, os.mkdir):
        lock.unlink()
        make(lock)
        with pytest.raises(StorageError, match=rf"{lock}: cannot be written: [A-Z][a-z ]+\.$"):
            Partial(out, COMMAND)


@pytest.mark.parametrize("place", ["corpus", "corpus/a/data.mdb", "parts/1.part"])
def test_work_with_links_or_pipes_in_it_is_refused(out: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "mine").write_text("mine", "utf-8")
    for make in (os.mkfifo, lambda path: path.symlink_to(tmp_path / "mine")):
        with Partial(out, COMMAND) as partial:
            path = partial.path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        with pytest.raises(
            StorageError, match=rf"{path} is no regular file.*delete {partial.path}"
        ):
            Partial(out, COMMAND)
        path.unlink()


def test_an_interrupted_replacement_is_undone_or_done(out: Path, tmp_path: Path) -> None:
    with Partial(out, COMMAND, replaces=True) as partial:
        fill(partial.path / "replaced", "old")
        with pytest.raises(StorageError, match="another hffkit is at work there"):
            restore(out)
    restore(out)  # killed between the renames: the old product has no name
    assert files_below(out)["a"] == "old"
    fill(partial.path / "replaced", "older")
    restore(out)  # killed after them: there is a product of the name
    assert files_below(out)["a"] == "old"
    assert not (partial.path / "replaced").exists()
    restore(out)
    restore(tmp_path / "other")
    assert files_below(out)["a"] == "old"


def test_two_products_get_their_names_together(out: Path, tmp_path: Path) -> None:
    beside = tmp_path / "masks.lmdb"
    with Partial(out, COMMAND, beside=beside) as partial:
        fill(partial.product, "faces")
        fill(partial.beside, "masks")
        assert not partial.is_complete
        partial.publish()
    assert files_below(tmp_path) == {"masks.lmdb/a": "masks", "out.lmdb/a": "faces"}
    with pytest.raises(StorageError, match=r"masks\.lmdb already exists"):
        Partial(tmp_path / "third", COMMAND, beside=beside)


@pytest.mark.parametrize("is_renamed", [False, True])
def test_work_whose_last_renames_were_interrupted_is_complete(
    out: Path, tmp_path: Path, *, is_renamed: bool
) -> None:
    beside = tmp_path / "masks.lmdb"
    with Partial(out, COMMAND, beside=beside) as partial:
        fill(partial.product, "faces")
        fill(partial.beside, "masks")
        write_durably(partial.path / "whole", "")
        if is_renamed:
            partial.beside.rename(beside)
    with Partial(out, COMMAND, beside=beside) as again:
        assert again.is_complete
        again.publish()
    assert files_below(tmp_path) == {"masks.lmdb/a": "masks", "out.lmdb/a": "faces"}


def test_work_is_not_complete_without_its_product(out: Path, tmp_path: Path) -> None:
    beside = tmp_path / "masks.lmdb"
    with Partial(out, COMMAND, beside=beside) as partial:
        write_durably(partial.path / "whole", "")
        fill(partial.product, "faces")
    with Partial(out, COMMAND, beside=beside) as again:
        assert not again.is_complete
        assert not (again.path / "whole").exists()


def test_a_product_that_appeared_meanwhile_is_not_overwritten(out: Path) -> None:
    with Partial(out, COMMAND) as partial:
        fill(partial.product, "new")
        fill(out, "other")
        with pytest.raises(StorageError, match="appeared meanwhile"):
            partial.publish()
    assert files_below(out)["a"] == "other"
    assert files_below(partial.product)["a"] == "new"


def test_a_file_is_written_whole_with_escapes_for_what_is_no_utf_8(tmp_path: Path) -> None:
    write_durably(tmp_path / "a", "ä \udcff\n")
    assert (tmp_path / "a").read_bytes() == "ä \\udcff\n".encode()
    write_bytes_durably(tmp_path / "a", b"\xff")
    assert (tmp_path / "a").read_bytes() == b"\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(StorageError, match="none/a"):
        write_durably(tmp_path / "none/a", "")


def test_differences_of_commands_are_told_by_their_place() -> None:
    old = {"a": 1, "b": {"c": [1], "d": None}, "rows": [{"x": 1}], "same": {"e": [{}]}}
    new = {"a": 2, "b": {"c": [1, 2]}, "rows": [{"x": 2}], "same": {"e": [{}]}, "f": "new"}
    assert differences(old, new) == [
        "a was 1, is now 2",
        "b.c was [1], is now [1, 2]",
        "f was null, is now 'new'",
        "rows differ",
    ]
    assert differences(old, old) == []
    assert differences({"rows": None}, {"rows": [{"x": 1}]}) == ["rows differ"]
    assert differences([1], {"a": 1}, "b") == ["b was [1], is now {'a': 1}"]


def leftover(out: Path) -> Path:
    """Make an output whose process was killed while it removed its folder of work."""
    with Partial(out, COMMAND) as partial:
        fill(partial.product, "new")
    partial.product.rename(out)
    return partial.path


def test_what_a_killed_process_left_beside_its_output_is_removed_with_the_refusal(
    out: Path,
) -> None:
    folder = leftover(out)
    with pytest.raises(StorageError, match="already exists"):
        refuse_existing(out)
    assert not folder.exists()
    assert files_below(out) == {"a": "new"}


def test_an_empty_folder_beside_a_users_journal_costs_nothing(out: Path) -> None:
    fill(out, "mine")
    partial_path(out).mkdir()
    with pytest.raises(StorageError, match="already exists"):
        refuse_existing(out)
    assert files_below(out) == {"a": "mine", JOURNAL_FILE: ""}


@pytest.mark.parametrize("name", ["parts/x.part", "corpus", "mine.txt"])
def test_work_that_is_left_to_do_stays_beside_an_output(out: Path, name: str) -> None:
    folder = leftover(out)
    (folder / name).touch()
    before = files_below(folder)
    with pytest.raises(StorageError, match="already exists"):
        refuse_existing(out)
    assert files_below(folder) == before


def test_a_folder_in_which_another_process_is_at_work_stays(out: Path) -> None:
    folder = leftover(out)
    with (folder / "lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="already exists"):
            refuse_existing(out)
    assert folder.is_dir()
