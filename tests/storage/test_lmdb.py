import multiprocessing
import os
import pickle
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest

from hffkit.errors import StorageError
from hffkit.media.image import decode
from hffkit.storage.datum import Datum, decode_datum, encode_datum, raw_datum
from hffkit.storage.lmdb_file import LmdbReader, LmdbWriter

MB = 1 << 20


def raw_items(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def key(number: int) -> bytes:
    return b"%08d" % number


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of ten records, not open anywhere."""
    path = tmp_path / "ten"
    with LmdbWriter(path) as writer:
        for number in range(10):
            image = np.full((2, 3, 3), number, np.uint8)
            writer.put(key(number), encode_datum(raw_datum(image, number)))
        writer.flush()
    return path


@pytest.fixture
def reader(database: Path) -> Iterator[LmdbReader]:
    reader = LmdbReader(database)
    yield reader
    reader.close()


@pytest.fixture(params=["raw128_lmdb", "encoded_png_lmdb", "encoded_asis_lmdb"])
def golden(request: pytest.FixtureRequest, data: Path) -> Path:
    return Path(data / "golden" / "caffe-convert_imageset" / request.param)


@pytest.mark.golden
def test_reader_reads_what_convert_imageset_wrote(golden: Path) -> None:
    lines = (golden.parent / "list.txt").read_text().splitlines()
    listed = {}
    for number, line in enumerate(lines):
        path, _, label = line.rpartition(" ")
        if path != "broken.jpg":
            listed[f"{number:08d}_{path}".encode()] = int(label)
    reader = LmdbReader(golden)
    datums = {name: decode_datum(value) for name, value in reader.items()}
    assert list(datums) == list(listed)
    assert len(reader) == len(datums) == 35
    assert [datum.label for datum in datums.values()] == list(listed.values())
    for name, datum in datums.items():
        if datum.encoded:
            picture = golden.parent / "images" / name[9:].decode()
            assert np.array_equal(datum.image(), decode(picture.read_bytes()))
        else:
            assert datum.image().shape == (128, 128, 3)
    reader.close()


@pytest.mark.golden
@pytest.mark.parametrize(("name", "n_records"), [("train", 160), ("val", 80)])
def test_reader_reads_the_authors_polarity(data: Path, name: str, n_records: int) -> None:
    folder = data / "golden" / "caffe-amtennet"
    lines = (folder / f"{name}.txt").read_text().splitlines()
    reader = LmdbReader(folder / f"{name}_lmdb")
    labels = {line.decode()[9:]: decode_datum(value).label for line, value in reader.items()}
    reader.close()
    assert labels == {line.split()[0]: int(line.split()[1]) for line in lines}
    assert len(labels) == n_records
    kinds = Counter((path.split("/")[0], label) for path, label in labels.items())
    assert set(kinds) == {("fake-stargan128", 0), ("real-celeba-stargan128", 1)}


def test_reader_gives_the_records_of_raw_lmdb(database: Path, reader: LmdbReader) -> None:
    records = raw_items(database)
    assert dict(reader.items()) == records
    assert {name: reader.get(name) for name in records} == records
    assert len(reader) == 10


def test_reader_leaves_the_folder_as_it_was(tmp_path: Path, database: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    (database / "data.mdb").rename(folder / "data.mdb")
    reader = LmdbReader(folder)
    assert len(reader) == 10
    reader.close()
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


def test_closed_reader_opens_again(reader: LmdbReader) -> None:
    before = reader.get(key(3))
    reader.close()
    assert reader.get(key(3)) == before


def test_a_database_that_comes_back_after_a_broken_one_is_opened_again(
    database: Path, reader: LmdbReader
) -> None:
    before = reader.get(key(3))
    file, kept = database / "data.mdb", database / "kept"
    kept.hardlink_to(file)
    file.unlink()
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="no readable LMDB"):
        len(LmdbReader(database))
    kept.replace(file)  # the same file as before
    again = LmdbReader(database)
    assert (again.get(key(3)), len(again)) == (before, 10)
    again.close()
    file.unlink()
    with pytest.raises(StorageError, match=r"data\.mdb: cannot be read: No such file"):
        again.get(key(3))


def test_any_number_of_readers_can_be_used_at_once(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hffkit.storage.lmdb_file._MAX_OPEN", 8)
    for number in range(60):
        (tmp_path / str(number)).mkdir()
        shutil.copy(database / "data.mdb", tmp_path / str(number))
    readers = [LmdbReader(tmp_path / str(number)) for number in range(60)]
    begun = [(reader, iter(reader.items())) for reader in readers[:3]]
    firsts = [next(items) for _, items in begun]
    before = n_descriptors()
    for _ in range(2):
        assert {reader.get(key(3)) for reader in readers} == {raw_items(database)[key(3)]}
        assert n_descriptors() <= before + 8
    for (reader, items), first in zip(begun, firsts, strict=True):
        assert dict([first, *items]) == dict(reader.items()) == raw_items(database)
    for reader in readers:
        reader.close()


def n_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_reader_survives_pickling(reader: LmdbReader) -> None:
    value = reader.get(key(4))
    frozen = pickle.dumps(reader)
    reader.close()
    again = pickle.loads(frozen)
    assert again.get(key(4)) == value
    again.close()


def test_two_readers_of_one_database_work_side_by_side(database: Path) -> None:
    one = LmdbReader(database)
    first = one.get(key(0))
    for other in (LmdbReader(database), pickle.loads(pickle.dumps(one))):
        assert other.get(key(0)) == first
        other.close()
    assert one.get(key(0)) == first
    one.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_reader_survives_a_fork_while_it_is_open(reader: LmdbReader) -> None:
    value = reader.get(key(5))
    context = multiprocessing.get_context("fork")
    answers, answer = context.Pipe(duplex=False)

    def child() -> None:
        answer.send((reader.get(key(5)), len(list(reader.items()))))

    process = context.Process(target=child)
    process.start()
    answer.close()
    process.join(30)
    assert process.exitcode == 0
    assert answers.recv() == (value, 10)
    answers.close()
    assert reader.get(key(5)) == value


@pytest.mark.parametrize("name", [b"nothing", b"\xff\xfe", b"x" * 600])
def test_absent_record_is_named(reader: LmdbReader, name: bytes) -> None:
    with pytest.raises(StorageError, match="ten: no record '"):
        reader.get(name)


def test_empty_key_which_no_database_can_hold_is_refused(reader: LmdbReader) -> None:
    with pytest.raises(StorageError, match=r"ten: cannot be read: mdb_get: MDB_BAD_VALSIZE"):
        reader.get(b"")


@pytest.mark.parametrize("version", [(1, 0, 0), (1, 0), (1, 2, 3), (2, 0, 0)])
def test_a_library_that_writes_what_caffe_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(lmdb, "version", lambda: (0, 9, 99))
    LmdbWriter(tmp_path / "new").__exit__()
    monkeypatch.setattr(lmdb, "version", lambda: version)
    with pytest.raises(StorageError, match=f"library is {'.'.join(map(str, version))}, whose"):
        LmdbWriter(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_folder_without_a_database_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StorageError, match=f"{path}: no LMDB: it holds no data.mdb"):
            LmdbReader(path)


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(StorageError, match="no readable LMDB"):
        len(LmdbReader(tmp_path))


def test_database_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "whole") as writer:
        writer.put(b"a", bytes(MB))
        writer.put(b"b", bytes(MB))
        writer.flush()
    whole = (tmp_path / "whole" / "data.mdb").read_bytes()
    (tmp_path / "data.mdb").write_bytes(whole[:MB])
    # In a process of its own: reading behind the end of a mapped file is a SIGBUS.
    program = (
        "import sys, pathlib, hffkit.storage.lmdb_file as lmdb_file\n"
        "try:\n"
        "    list(lmdb_file.LmdbReader(pathlib.Path(sys.argv[1])).items())\n"
        "except lmdb_file.StorageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"cut short" in done.stdout


def test_writer_writes_what_raw_lmdb_reads(tmp_path: Path) -> None:
    records = {b"a": b"1", b"b": b"", b"c" * 511: b"3" * 5000}
    with LmdbWriter(tmp_path / "new") as writer:
        for name, value in records.items():
            writer.put(name, value)
        writer.flush()
        assert dict(writer.items()) == records
    assert raw_items(tmp_path / "new") == records


def test_a_database_is_written_by_its_group_and_read_by_all(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with LmdbWriter(tmp_path / "new"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new/data.mdb").stat().st_mode) == 0o664


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no list of open files")
def test_a_closed_writer_leaves_no_file_open(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "new") as writer:
        writer.put(b"a", b"1")
        writer.flush()
    targets = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert not [target for target in targets if target.startswith(str(tmp_path))]


def test_writer_takes_views_of_larger_memory(tmp_path: Path) -> None:
    memory = memoryview(bytes(range(256)))
    with LmdbWriter(tmp_path / "new") as writer:
        for start in (0, 100, 200):
            writer.put(key(start), memory[start : start + 50])
        writer.flush()
    assert raw_items(tmp_path / "new") == {
        key(start): bytes(range(start, start + 50)) for start in (0, 100, 200)
    }


def test_records_that_were_not_flushed_are_not_there(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "new") as writer:
        writer.put(b"a", b"1")
        writer.flush()
        writer.put(b"b", b"2")
    assert raw_items(tmp_path / "new") == {b"a": b"1"}


@pytest.fixture
def small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first map of a writer hold 1 MB, and a batch 256 kB."""
    monkeypatch.setattr("hffkit.storage.lmdb_file._FIRST_MAP_BYTES", MB)
    monkeypatch.setattr("hffkit.storage.lmdb_file._BATCH_BYTES", MB // 4)


@pytest.mark.usefixtures("small_map")
def test_writer_grows_beyond_its_first_map(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "big") as writer:
        for number in range(25):
            writer.put(key(number), bytes([number]) * (MB // 8))
        writer.flush()
    assert (tmp_path / "big" / "data.mdb").stat().st_size > 3 * MB
    with LmdbWriter(tmp_path / "big") as writer:  # and goes on where it was
        writer.put(key(25), b"last")
        writer.flush()
        sizes = {name: (value[:1], len(value)) for name, value in writer.items()}
    assert sizes == {key(n): (bytes([n]), MB // 8) for n in range(25)} | {key(25): (b"l", 4)}


@pytest.mark.usefixtures("small_map")
def test_records_of_a_grown_database_can_be_dropped(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "big") as writer:
        for number in range(20):
            writer.put(key(number), bytes(MB // 8))
        writer.flush()
    with LmdbWriter(tmp_path / "big") as writer:
        writer.drop_after(key(11))
        assert [name for name, _ in writer.items()] == [key(n) for n in range(12)]


@pytest.mark.parametrize("second", [b"a", b"b"])
def test_keys_out_of_order_are_refused(tmp_path: Path, second: bytes) -> None:
    with LmdbWriter(tmp_path / "new") as writer:
        writer.put(b"b", b"1")
        writer.put(second, b"2")
        with pytest.raises(StorageError, match=f"new: key '{second.decode()}' is out of order"):
            writer.flush()
    assert raw_items(tmp_path / "new") == {}


@pytest.mark.parametrize(
    ("last", "n_left"), [(b"", 0), (key(4), 5), (key(4) + b"_", 5), (key(9), 10), (b"x", 10)]
)
def test_drop_after_leaves_the_records_up_to_a_key(
    database: Path, last: bytes, n_left: int
) -> None:
    with LmdbWriter(database) as writer:
        writer.drop_after(last)
        writer.put(b"x", b"new")
        writer.flush()
    assert list(raw_items(database)) == [*(key(n) for n in range(n_left)), b"x"]


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere/new: cannot be written"):
        LmdbWriter(tmp_path / "nowhere" / "new")


def test_datums_come_in_key_order_with_their_pixels(reader: LmdbReader) -> None:
    datums = [(name, decode_datum(value)) for name, value in reader.items()]
    read = [(name, datum.label, datum.image()[0, 0].tolist()) for name, datum in datums]
    assert read == [(key(n), n, [n, n, n]) for n in range(10)]


def test_record_that_is_no_datum_is_refused(tmp_path: Path) -> None:
    with LmdbWriter(tmp_path / "new") as writer:
        writer.put(b"a", encode_datum(Datum(b"x", 0, encoded=True))[:-5])
        writer.flush()
    reader = LmdbReader(tmp_path / "new")
    with pytest.raises(StorageError, match="no Datum"):
        [decode_datum(value) for _, value in reader.items()]
    reader.close()
