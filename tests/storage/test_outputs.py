"""Named output files: whose they are, and how they are written."""

import errno
import io
import json
import os
import resource
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.trees import all_files, build_two_classes
from PIL import Image

from hffkit.errors import ArgumentError, StorageError
from hffkit.media.image import encode_png
from hffkit.storage import outputs
from hffkit.storage.csv_files import csv_text, guarded, read_rows, unguarded
from hffkit.storage.outputs import (
    AUDIT_PAGE,
    AUDIT_REPORT,
    EVAL_PAGE,
    FEATURES,
    INSPECT_SHEET,
    SCORES,
    FileForm,
    check_output,
    sweep_path,
    write_output,
)
from hffkit.storage.staging import write_aside

PAGE = b"<!DOCTYPE html>\n<html><body>1</body></html>"
SHEET = encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
REPORT = (json.dumps({"a": [1, "\u00e9"]}, indent=1) + "\n").encode()
TABLE = ",".join(SCORES.names).encode() + b",p_a\n1,2,,0,a,0.5,0,0.5\n"
FORMS: dict[str, tuple[FileForm, bytes]] = {
    "page": (EVAL_PAGE, PAGE),
    "sheet": (INSPECT_SHEET, SHEET),
    "report": (AUDIT_REPORT, REPORT),
    "table": (SCORES, TABLE),
}
SIGNED = {name: row for name, row in FORMS.items() if name != "table"}


def by_name(rows: dict[str, tuple[FileForm, bytes]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("form", "data"), list(rows.values()), ids=list(rows))


# whose a file is -------------------------------------------------------------------------------


@by_name(FORMS)
def test_what_a_command_wrote_is_replaced(tmp_path: Path, form: FileForm, data: bytes) -> None:
    path = tmp_path / "out"
    write_output(path, data, form)
    first = path.read_bytes()
    write_output(path, data, form)
    assert path.read_bytes() == first == form.marked(data)
    assert list(tmp_path.iterdir()) == [path]


@by_name(FORMS)
@pytest.mark.parametrize("content", [b"", b"mine", PAGE, SHEET, REPORT, b"key,score\na,1\n"])
def test_what_a_user_has_is_kept(
    tmp_path: Path, form: FileForm, data: bytes, content: bytes
) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"out already exists, and this command did not write"):
        write_output(path, data, form)
    assert all_files(tmp_path) == {"out": content}


@by_name(SIGNED)
def test_any_change_makes_a_signed_file_the_user_s(
    tmp_path: Path, form: FileForm, data: bytes
) -> None:
    path = tmp_path / "out"
    marked = form.marked(data)
    for place in range(len(marked)):
        path.write_bytes(marked[:place] + bytes([marked[place] ^ 1]) + marked[place + 1 :])
        with path.open("rb") as file:
            assert not form.recognises(file), place
    for changed in (marked[:-1], marked + b"\n", b" " + marked):
        path.write_bytes(changed)
        with path.open("rb") as file:
            assert not form.recognises(file)


def test_the_page_of_another_command_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_output(path, PAGE, EVAL_PAGE)
    with pytest.raises(StorageError, match="already exists"):
        write_output(path, PAGE, AUDIT_PAGE)
    assert path.read_bytes() == EVAL_PAGE.marked(PAGE)


def test_features_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_output(path, b"1", FEATURES)
    with pytest.raises(StorageError, match="already exists"):
        write_output(path, b"2", FEATURES)
    assert path.read_bytes() == b"1"


def test_signatures_are_valid_in_their_formats(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    write_output(sheet, SHEET, INSPECT_SHEET)
    with Image.open(sheet) as image:  # which checks the CRC of the chunk
        image.load()
        assert image.tobytes() == bytes(range(48))
        assert image.info["Software"].startswith("hffkit inspect ")
    row = json.loads(AUDIT_REPORT.marked(REPORT))
    assert row.pop("signature").startswith("hffkit audit ")
    assert row == json.loads(REPORT)


# where a file must not be written ----------------------------------------------------------------


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    (tmp_path / "dangling").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "link": "is a symbolic link",
        "dangling": "is a symbolic link",
        "pipe": "no file that can be replaced",
        "/dev/full": "no file that can be replaced",
        "/dev/null": "no file that can be replaced",
    }.items():
        with pytest.raises(StorageError, match=reason):
            write_output(tmp_path / name, PAGE, EVAL_PAGE)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "link", "mine", "pipe"]


def test_a_link_that_appears_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    write_output(target, PAGE, EVAL_PAGE)
    before = target.read_bytes()
    link.symlink_to(target)
    monkeypatch.setattr(Path, "lstat", Path.stat)  # it was a file then
    with pytest.raises(StorageError, match="link"):
        write_output(link, PAGE, EVAL_PAGE)
    assert target.read_bytes() == before
    assert link.readlink() == target


def test_the_folder_of_a_new_name_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut it has the name."""
    seen: list[tuple[Path, bool]] = []
    path = tmp_path / "page.html"
    monkeypatch.setattr(outputs, "sync_folder", lambda folder: seen.append((folder, path.exists())))
    write_output(path, PAGE, EVAL_PAGE)
    assert seen == [(tmp_path, True)]


@pytest.mark.parametrize("name", [".", "-", "absent/page.html", "file/page.html", "folder"])
def test_what_is_no_place_for_a_file_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArgumentError, match="`html` must be a file in an existing folder"):
        check_output(tmp_path / name, "html", EVAL_PAGE)
    check_output(tmp_path / "page.html", "html", EVAL_PAGE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_read_only_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_output(path, PAGE, EVAL_PAGE)
    path.chmod(0o444)
    with pytest.raises(StorageError, match="is read-only"):
        write_output(path, PAGE + b"2", EVAL_PAGE)


def test_folders_of_hffkit_are_no_place_for_files(tmp_path: Path) -> None:
    corpus = build_two_classes(tmp_path, 2)
    before = all_files(corpus)
    (tmp_path / "link").symlink_to(corpus)
    for path in (corpus / "page.html", corpus / "manifest.jsonl", tmp_path / "link/page.html"):
        with pytest.raises(StorageError, match=r"lies inside .*x\.lmdb, a corpus"):
            write_output(path, PAGE, EVAL_PAGE)
    assert all_files(corpus) == before


# how it is written -------------------------------------------------------------------------------


def test_no_name_beside_the_file_is_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "page.html.tmp").symlink_to("mine")
    write_output(tmp_path / "page.html", PAGE, EVAL_PAGE)
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "page.html.tmp").is_symlink()


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "page.html", write_aside

    def late(temporary: Path, data: bytes) -> Path:
        path.write_text("mine")
        return write(temporary, data)

    monkeypatch.setattr("hffkit.storage.outputs.write_aside", late)
    with pytest.raises(StorageError, match=r"page\.html: cannot be written: File exists"):
        write_output(path, PAGE, EVAL_PAGE)
    assert all_files(tmp_path) == {"page.html": b"mine"}


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    pages = [b"%d" % number * 100_000 for number in range(4)]
    refused = []

    def write(page: bytes) -> None:
        try:
            write_output(path, page, EVAL_PAGE)
        except StorageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=write, args=(page,)) for page in pages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in [EVAL_PAGE.marked(page) for page in pages]
    assert list(tmp_path.iterdir()) == [path]
    assert all("File exists" in text for text in refused)


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_output(tmp_path / "page.html", PAGE, EVAL_PAGE)
    assert all_files(tmp_path) == {"page.html": EVAL_PAGE.marked(PAGE)}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    write_output(path, PAGE, EVAL_PAGE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"page\.html: cannot be written: No space left"):
        write_output(path, PAGE + b"2", EVAL_PAGE)
    assert all_files(tmp_path) == {"page.html": EVAL_PAGE.marked(PAGE)}


def test_a_file_that_may_not_be_so_large_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"page\.html: cannot be written: File too large"):
            write_output(path, bytes(2 << 20), EVAL_PAGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not all_files(tmp_path)


# cells of CSV files ------------------------------------------------------------------------------

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1"]
NUMBERS = ["-1", "+0.5", "-1.5e-07", "1", "-.5", "3.", "-inf", "nan", ""]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str) -> None:
    found = str(guarded(text))
    assert found == f"'{text}"
    assert unguarded(found) == text
    (row,) = read_rows(io.StringIO(csv_text([["a", text], ["b", text]]), newline=""))
    assert row == {"a": "b", text: text}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_stay_numbers(text: str) -> None:
    assert guarded(text) == unguarded(text) == text


@given(st.text(st.sampled_from("'=+-@\t\r1a,\"\n"), max_size=5))
def test_every_text_is_read_back(text: str) -> None:
    assert unguarded(str(guarded(text))) == text
    assert str(guarded(text)).lstrip("'") == text.lstrip("'")


def test_text_is_written_with_the_bytes_of_paths_that_are_no_utf_8(tmp_path: Path) -> None:
    write_output(tmp_path / "a.csv", ",".join(SCORES.names) + "\n\u00e4\udcff\n", SCORES)
    assert (tmp_path / "a.csv").read_bytes().endswith(b"\n\xc3\xa4\xff\n")
    assert sweep_path(tmp_path / "a.csv") == tmp_path / "a-thresholds.csv"
