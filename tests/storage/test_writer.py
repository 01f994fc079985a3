import contextlib
import ctypes
import hashlib
import json
import mmap
import multiprocessing
import os
import signal
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb
import pytest

from hffkit.errors import ManifestError, StorageError
from hffkit.manifest.classes import numbered
from hffkit.manifest.failures import Failure
from hffkit.manifest.samples import Sample, Split
from hffkit.storage import writer as writer_module
from hffkit.storage.corpus import Corpus, Provenance
from hffkit.storage.datum import Datum, encode_datum
from hffkit.storage.lmdb_file import LmdbReader, LmdbWriter
from hffkit.storage.parts import (
    Event,
    FileMade,
    PartWriter,
    Record,
    VideoBoxes,
    read_part,
    recycle,
    remove,
)
from hffkit.storage.writer import CorpusWriter

Unit = tuple[str, list[Event]]
TEXTS = ("manifest.jsonl", "failures.jsonl", "boxes.json", "corpus.json")
PROVENANCE = Provenance(
    classes=numbered(["Forged"], ["Real"]),
    size=None,
    labels="multi",
    verb="build",
    options={"seed": 0},
    versions={"opencv": "5"},
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def record(
    key: str, group: str, split: Split = "train", cls: str = "Real", index: int | None = None
) -> Record:
    """A record of a file that is no image; the other digests are plausible."""
    sample = Sample(
        key=key,
        cls=cls,
        split=split,
        group=group,
        source=f"videos/ä {group}.mp4",
        source_sha256=sha256(f"{cls} {group}"),
        frame=7,
        box=(1, 2, 3),
        detector="dlib",
        sha256=sha256(key * 40),
        pixels_sha256=sha256("pixels " + key),
        index=index,
    )
    label = PROVENANCE.classes[cls].id
    return Record(sample, encode_datum(Datum(key.encode() * 40, label, encoded=True)))


def units() -> list[Unit]:
    return [
        ("inputs", [Failure("unreadable", "gone.jpg", None, "empty file")]),
        (
            "one",
            [
                record("real/000/0001", "000+003"),
                Failure("no-face", "videos/000.mp4", 2, "no face — größer"),
                record("forged/000_003/0001", "000+003", cls="Forged"),
                VideoBoxes("000", {1: (1, 2, 3), 10: (4, 5, 6)}),
            ],
        ),
        ("nothing", []),
        ("two", [record("real/001/0001", "001+870", "val"), VideoBoxes("001", {1: (7, 8, 9)})]),
        (
            "three",
            [
                record("forged/002_006/0001", "002+006", "test", "Forged"),
                VideoBoxes('Forged/002_006 "ä"', {3: (0, 0, 30)}),
                Failure("unreadable", "videos/006.mp4", None, "no video"),
            ],
        ),
    ]


def records(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def write(folder: Path, parts: Sequence[Unit]) -> dict[str, Any]:
    """Write the units that the folder does not hold yet, finish, and return corpus.json."""
    with CorpusWriter(folder) as writer:
        for name, events in parts[len(writer.units) :]:
            writer.append(name, events)
        return writer.finish(PROVENANCE).to_json()


def contents(folder: Path) -> dict[str, Any]:
    return {name: (folder / name).read_bytes() for name in TEXTS} | {"records": records(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corpus"


@pytest.fixture
def uninterrupted(tmp_path: Path) -> dict[str, Any]:
    write(tmp_path / "uninterrupted", units())
    return contents(tmp_path / "uninterrupted")


def test_digests_are_those_of_their_definition(folder: Path) -> None:
    about = write(folder, units())
    samples = [json.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    content, pixels, sources = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for key, sample in zip(records(folder), samples, strict=True):
        head = struct.pack(">I", len(key)) + key
        datum = {"Forged": b"0 0 0 0 1", "Real": b"0 0 0 1 1"}[sample["cls"]]
        content.update(head + datum + bytes.fromhex(sample["sha256"]))
        pixels.update(head + bytes.fromhex(sample["pixels_sha256"]))
        sources.update(sample["source"].encode() + b"\0" + bytes.fromhex(sample["source_sha256"]))
    assert about["content_sha256"] == content.hexdigest()
    assert about["pixels_sha256"] == pixels.hexdigest()
    assert about["sources_sha256"] == sources.hexdigest()


def test_content_digest_has_the_shape_of_raw_pixels(folder: Path) -> None:
    sample = record("a", "a").sample
    datum = Datum(bytes(18), 300, encoded=False, channels=3, height=2, width=3)
    about = write(folder, [("one", [Record(sample, encode_datum(datum))])])
    expected = b"\0\0\0\x0a00000000_a" + b"3 2 3 300 0" + bytes.fromhex(sample.sha256)
    assert about["content_sha256"] == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("value", [b"no datum", b"\x22\x05abcd"])
def test_value_that_is_no_datum_is_refused(folder: Path, value: bytes) -> None:
    with CorpusWriter(folder) as writer, pytest.raises(StorageError, match="no Datum"):
        writer.append("one", [Record(record("a", "a").sample, value)])


def test_event_that_a_corpus_has_no_place_for_is_refused(folder: Path) -> None:
    with CorpusWriter(folder) as writer, pytest.raises(TypeError, match="holds no FileMade"):
        writer.append("one", [FileMade({"path": "a.mp4"})])


def test_records_are_numbered_in_the_order_they_came(folder: Path) -> None:
    write(folder, units())
    expected = {
        f"{number:08d}_{key}".encode(): record(key, "", cls=cls).value
        for number, (key, cls) in enumerate(
            [
                ("real/000/0001", "Real"),
                ("forged/000_003/0001", "Forged"),
                ("real/001/0001", "Real"),
                ("forged/002_006/0001", "Forged"),
            ]
        )
    }
    assert records(folder) == expected


def test_corpus_json_counts_what_is_there(folder: Path) -> None:
    about = write(folder, units())
    assert json.loads((folder / "corpus.json").read_bytes()) == about
    assert about["format"] == 1
    assert about["n_samples"] == 4
    assert about["counts"] == {
        "Forged": {"test": 1, "train": 1},
        "Real": {"train": 1, "val": 1},
    }
    assert about["failures"] == {"no-face": 1, "unreadable": 2}


def test_boxes_are_one_json_object(folder: Path) -> None:
    write(folder, units())
    assert json.loads((folder / "boxes.json").read_bytes()) == {
        "000": {"1": [1, 2, 3], "10": [4, 5, 6]},
        "001": {"1": [7, 8, 9]},
        'Forged/002_006 "ä"': {"3": [0, 0, 30]},
    }


def test_corpus_without_boxes_has_an_empty_object(folder: Path) -> None:
    write(folder, [("one", [record("a", "a")])])
    assert json.loads((folder / "boxes.json").read_bytes()) == {}


def test_corpus_reads_back_what_was_written(folder: Path) -> None:
    write(folder, units())
    corpus = Corpus(folder)
    assert corpus.provenance == PROVENANCE
    samples = list(corpus.samples())
    written = [event for _, events in units() for event in events if isinstance(event, Record)]
    assert [sample._replace(index=None) for sample in samples] == [
        event.sample for event in written
    ]
    assert [corpus.label(sample) for sample in samples] == [1, 0, 1, 0]
    for sample, event in zip(samples, written, strict=True):
        assert encode_datum(corpus.datum(sample)) == event.value
    corpus.records.close()


def test_samples_keep_the_numbers_they_bring(folder: Path) -> None:
    numbers = (0, 4, 5, 70)
    events = [record(f"k{n}", f"g{n}", index=n) for n in numbers]
    write(folder, [("one", list(events[:2])), ("two", list(events[2:]))])
    assert list(records(folder)) == [f"{n:08d}_k{n}".encode() for n in numbers]


def test_samples_that_are_not_kept_leave_no_gap(folder: Path) -> None:
    with CorpusWriter(folder) as writer:
        events = [record(key, key) for key in "abc"]
        writer.append("one", events, lambda sample: sample.key != "b")
        assert writer.finish(PROVENANCE).n_samples == 2
    assert list(records(folder)) == [b"00000000_a", b"00000001_c"]


def append(folder: Path, parts: Sequence[Unit], n_together: int = 1) -> None:
    """Make units durable, some at a time, then stop as a process that is killed between two."""
    with CorpusWriter(folder) as writer:
        for number, (name, events) in enumerate(parts, 1):
            writer.append(name, events)
            if number % n_together == 0:
                writer.commit()
        writer.commit()


def journal(folder: Path) -> list[list[str]]:
    """Return the units of each commit."""
    text = (folder / "journal.jsonl").read_text("utf-8")
    return [json.loads(line)["units"] for line in text.splitlines()]


def spoil_texts(folder: Path) -> None:
    for name, rest in (
        ("manifest.jsonl", b'{"key":"half a li'),
        ("failures.jsonl", b'{"kind":"no-face","path":"x","frame":null,"reason":"y"}\n'),
        ("boxes.json", b',\n"999":{"0":[1,2'),
    ):
        with (folder / name).open("ab") as file:
            file.write(rest)


def spoil_records(folder: Path) -> None:
    with lmdb.open(str(folder), map_size=1 << 26) as env, env.begin(write=True) as transaction:
        transaction.put(b"00000077_real/777/0001", b"not journaled")
        transaction.put(b"99999999_z", bytes(20_000))


def spoil_journal(folder: Path) -> None:
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"last_key":"00000077_real/777/0001","sizes":{"boxes.json"')


def spoil_everything(folder: Path) -> None:
    for spoil in (spoil_texts, spoil_records, spoil_journal):
        spoil(folder)


TOGETHER = pytest.mark.parametrize("n_together", [1, 2, 5])


@TOGETHER
@pytest.mark.parametrize("n_done", range(6))
@pytest.mark.parametrize(
    "spoil", [spoil_texts, spoil_records, spoil_journal, spoil_everything, lambda _: None]
)
def test_corpus_that_was_interrupted_comes_out_the_same(
    folder: Path,
    uninterrupted: dict[str, Any],
    n_done: int,
    n_together: int,
    spoil: Callable[[Path], None],
) -> None:
    append(folder, units()[:n_done], n_together)
    spoil(folder)
    with CorpusWriter(folder) as writer:
        assert writer.units == [name for name, _ in units()[:n_done]]
    write(folder, units())
    assert contents(folder) == uninterrupted


@TOGETHER
@pytest.mark.parametrize("n_done", range(1, 6))
def test_units_whose_journal_line_was_cut_are_written_again(
    folder: Path, uninterrupted: dict[str, Any], n_done: int, n_together: int
) -> None:
    append(folder, units()[:n_done], n_together)
    *before, _ = journal(folder)
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    with CorpusWriter(folder) as writer:
        assert writer.units == [name for names in before for name in names]
    write(folder, units())
    assert contents(folder) == uninterrupted


def test_a_cut_line_of_the_journal_is_gone_for_the_commits_after_it(
    folder: Path, uninterrupted: dict[str, Any]
) -> None:
    append(folder, units()[:2])
    spoil_journal(folder)
    with CorpusWriter(folder):
        pass
    lines = (folder / "journal.jsonl").read_bytes()
    assert lines.endswith(b"}\n")
    with CorpusWriter(folder) as writer:
        for name, events in units()[2:4]:
            writer.append(name, events)
        writer.commit()
    assert (folder / "journal.jsonl").read_bytes().startswith(lines)
    with CorpusWriter(folder) as writer:
        assert writer.units == [name for name, _ in units()[:4]]
    write(folder, units())
    assert contents(folder) == uninterrupted


def test_a_commit_is_one_journal_line(folder: Path) -> None:
    append(folder, units(), n_together=2)
    assert journal(folder) == [["inputs", "one"], ["nothing", "two"], ["three"]]
    with CorpusWriter(folder) as writer:
        writer.commit()  # nothing new, no line
    assert len(journal(folder)) == 3


@pytest.mark.parametrize("n_committed", range(5))
def test_units_that_were_not_committed_are_not_there_and_are_done_again(
    folder: Path, uninterrupted: dict[str, Any], n_committed: int
) -> None:
    committed = [name for name, _ in units()[:n_committed]]
    with CorpusWriter(folder) as writer:
        for name, events in units():
            if len(committed) == n_committed and name == units()[n_committed][0]:
                writer.commit()
            writer.append(name, events)
        assert writer.units == committed
    with CorpusWriter(folder) as writer:
        assert writer.units == committed
    write(folder, units())
    assert contents(folder) == uninterrupted


def test_records_that_reached_the_database_before_their_commit_are_taken_back(
    folder: Path, tmp_path: Path
) -> None:
    many: list[Event] = [record(f"{number:04d}", "g") for number in range(1500)]
    parts: list[Unit] = [("first", [record("a", "a")]), ("many", many)]
    append(folder, parts[:1])
    with CorpusWriter(folder) as writer:
        writer.append(*parts[1])
    assert len(records(folder)) > 1  # what is queued is bounded
    with CorpusWriter(folder) as writer:
        assert writer.units == ["first"]
    assert list(records(folder)) == [b"00000000_a"]
    write(folder, parts)
    write(tmp_path / "uninterrupted", parts)
    assert contents(folder) == contents(tmp_path / "uninterrupted")


def test_64_megabytes_are_committed_unasked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert writer_module._COMMIT_BYTES == 1 << 26
    monkeypatch.setattr(writer_module, "_COMMIT_BYTES", 1 << 20)  # which take less time
    half = encode_datum(Datum(bytes(1 << 19), 1, encoded=True))
    digest = hashlib.sha256(bytes(1 << 19)).hexdigest()
    with CorpusWriter(folder) as writer:
        for key, expected in (("a", []), ("b", ["a", "b"]), ("c", ["a", "b"])):
            sample = record(key, key).sample._replace(sha256=digest)
            writer.append(key, [Record(sample, half)])
            assert writer.units == expected
    with CorpusWriter(folder) as writer:
        assert writer.units == ["a", "b"]
    assert list(records(folder)) == [b"00000000_a", b"00000001_b"]


def test_finishing_commits(folder: Path) -> None:
    write(folder, units())
    assert journal(folder) == [["inputs", "one", "nothing", "two", "three"]]


def test_corpus_interrupted_after_its_end_comes_out_the_same(
    folder: Path, uninterrupted: dict[str, Any]
) -> None:
    for _ in range(3):
        write(folder, units())
        assert contents(folder) == uninterrupted


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("n_done", range(1, 5))
def test_corpus_whose_writer_was_killed_within_a_unit_comes_out_the_same(
    folder: Path,
    uninterrupted: dict[str, Any],
    n_done: int,
    commits: bool,  # noqa: FBT001
) -> None:
    def dying() -> Iterator[Event]:
        yield from units()[n_done][1][:-1]
        os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        with CorpusWriter(folder) as writer:
            for name, events in units()[:n_done]:
                writer.append(name, events)
            if commits:
                writer.commit()
            writer.append(units()[n_done][0], dying())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    with CorpusWriter(folder) as writer:
        assert writer.units == [name for name, _ in units()[: n_done if commits else 0]]
    write(folder, units())
    assert contents(folder) == uninterrupted


def test_unit_that_failed_leaves_nothing_behind(
    folder: Path, uninterrupted: dict[str, Any]
) -> None:
    def failing() -> Iterator[Event]:
        yield from units()[1][1]
        raise StorageError("the part is cut short")

    with CorpusWriter(folder) as writer:
        writer.append(*units()[0])
        writer.commit()
        with pytest.raises(StorageError, match="the part is cut short"):
            writer.append("one", failing())
    with CorpusWriter(folder) as writer:
        assert writer.units == ["inputs"]
    write(folder, units())
    assert contents(folder) == uninterrupted


def test_digests_depend_on_every_record(folder: Path, uninterrupted: dict[str, Any]) -> None:
    others = units()
    others[-1][1][0] = record("forged/002_006/0002", "002+006", "test", "Forged")
    about = write(folder, others)
    before = json.loads(uninterrupted["corpus.json"])
    assert about["content_sha256"] != before["content_sha256"]
    assert about["pixels_sha256"] != before["pixels_sha256"]
    assert about["sources_sha256"] == before["sources_sha256"]


@pytest.mark.parametrize("reopened", [False, True])
def test_group_in_two_splits_is_refused(folder: Path, reopened: bool) -> None:  # noqa: FBT001
    if reopened:
        append(folder, [("one", [record("a", "054+071", "train")])])
        events: list[Event] = []
    else:
        events = [record("a", "054+071", "train")]
    message = (
        r"Group '054\+071' leaks across splits: 'a' is train, 'b' is test. "
        "Split by group, not by frame."
    )
    with CorpusWriter(folder) as writer, pytest.raises(ManifestError, match=message):
        writer.append("two", [*events, record("b", "054+071", "test")])


@pytest.mark.parametrize("reopened", [False, True])
def test_key_twice_is_refused(folder: Path, reopened: bool) -> None:  # noqa: FBT001
    first: list[Event] = [record("a", "g")]
    if reopened:
        append(folder, [("one", first)])
        first = []
    with (
        CorpusWriter(folder) as writer,
        pytest.raises(ManifestError, match="Sample key 'a' occurs twice"),
    ):
        writer.append("two", [*first, record("a", "g")])


def test_numbers_out_of_order_are_refused(folder: Path) -> None:
    with CorpusWriter(folder) as writer:
        writer.append("one", [record("a", "a", index=5), record("b", "b", index=4)])
        with pytest.raises(StorageError, match="is out of order"):
            writer.commit()
    with CorpusWriter(folder) as writer:
        assert writer.units == []


@pytest.mark.parametrize("index", [10**8, None])
def test_more_records_than_keys_can_number_are_refused(folder: Path, index: int | None) -> None:
    events = [record("a", "a", index=10**8 - 1), record("b", "b", index=index)]
    with (
        CorpusWriter(folder) as writer,
        pytest.raises(StorageError, match="a corpus holds at most 100000000 records"),
    ):
        writer.append("one", events)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "unit.part"


def all_events() -> list[Event]:
    made = FileMade({"path": "ä/a.mp4", "sha256": sha256("a"), "operations": [{"crf": 30}]})
    return [*(event for _, events in units() for event in events), made]


def write_part(path: Path, *, is_durable: bool = True) -> None:
    with PartWriter(path, is_durable=is_durable) as writer:
        for event in all_events():
            writer.add(event)


@pytest.mark.parametrize("is_durable", [True, False])
def test_part_reads_back_what_was_written(part: Path, is_durable: bool) -> None:  # noqa: FBT001
    write_part(part, is_durable=is_durable)
    assert list(read_part(part)) == all_events()
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_part_without_values_gives_its_samples(part: Path) -> None:
    write_part(part)
    assert list(read_part(part, with_values=False)) == [
        Record(event.sample, None) if isinstance(event, Record) else event for event in all_events()
    ]


def test_value_may_hold_any_bytes(part: Path) -> None:
    value = b'\n{"end":true}\n' + bytes(range(256)) + b"\r\n"
    record_of_it = Record(record("a", "a").sample, value)
    with PartWriter(part) as writer:
        writer.add(record_of_it)
        writer.add(record("b", "b"))
    assert list(read_part(part)) == [record_of_it, record("b", "b")]


def test_values_of_a_part_outlive_its_file(part: Path) -> None:
    write_part(part)
    events = list(read_part(part))
    part.unlink()
    assert events == all_events()


def test_value_read_from_one_part_goes_into_another(part: Path) -> None:
    write_part(part)
    with PartWriter(part.with_name("again.part")) as writer:
        for event in read_part(part):
            writer.add(event)
    assert part.with_name("again.part").read_bytes() == part.read_bytes()


def test_part_has_no_name_before_it_is_whole(part: Path) -> None:
    with PartWriter(part) as writer:
        writer.add(record("a", "a"))
        assert not part.exists()
    assert part.exists()


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_part_leaves_nothing_behind_after_an_error(part: Path, error: type[BaseException]) -> None:
    with contextlib.suppress(error), PartWriter(part) as writer:
        writer.add(record("a", "a"))
        raise error
    assert list(part.parent.iterdir()) == []


def test_a_recycled_file_serves_the_next_part_that_need_not_be_durable(part: Path) -> None:
    write_part(part, is_durable=False)
    inode = part.stat().st_ino
    recycle(part)
    assert not part.exists()
    write_part(part.with_name("durable.part"))
    assert part.with_name("durable.part").stat().st_ino != inode
    with PartWriter(part.with_name("next.part"), is_durable=False) as writer:
        writer.add(record("a", "a"))  # shorter than what was in the file
    assert part.with_name("next.part").stat().st_ino == inode
    assert list(read_part(part.with_name("next.part"))) == [record("a", "a")]
    write_part(part, is_durable=False)
    assert list(read_part(part)) == all_events()
    assert sorted(path.name for path in part.parent.iterdir()) == sorted(
        [part.name, "durable.part", "next.part"]
    )


def test_recycling_or_removing_what_is_gone_is_nothing(part: Path) -> None:
    recycle(part)
    remove(part)
    assert list(part.parent.iterdir()) == []


def test_rewinding_in_a_recycled_file_leaves_nothing_of_the_other_part(part: Path) -> None:
    write_part(part, is_durable=False)
    recycle(part)
    with PartWriter(part, is_durable=False) as writer:
        writer.add(record("b", "b"))
        mark = writer.mark()
        writer.add(record("a", "a"))
        writer.rewind(mark)
    assert list(read_part(part)) == [record("b", "b")]


def cached_share(path: Path) -> float:
    """Return which share of a file's pages is in memory."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as view:
        first = ctypes.c_char.from_buffer(view)
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        failed = ctypes.CDLL(None).mincore(ctypes.byref(first), ctypes.c_size_t(size), pages)
        del first
    assert not failed
    return sum(page & 1 for page in pages) / len(pages)


@pytest.fixture
def disk() -> Iterator[Path]:
    """Return a folder on a disk, for `tmp_path` may be in memory."""
    with tempfile.TemporaryDirectory(prefix="hffkit-test-") as folder:
        yield Path(folder)


def test_what_is_durable_leaves_the_page_cache_and_can_be_read(disk: Path) -> None:
    plain = disk / "plain"
    with plain.open("wb") as file:
        file.write(os.urandom(1 << 22))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_share(plain) > 0.1:
        pytest.skip("this file system keeps all its pages")
    values = {b"%08d" % i: os.urandom(50_000) for i in range(500)}
    with LmdbWriter(disk / "db") as writer:
        for key, value in values.items():
            writer.put(key, value)
        writer.flush()
    assert cached_share(disk / "db" / "data.mdb") < 0.1
    assert dict(LmdbReader(disk / "db").items()) == values


def test_failed_part_leaves_the_finished_one_alone(part: Path) -> None:
    write_part(part)
    before = part.read_bytes()
    with contextlib.suppress(KeyError), PartWriter(part) as writer:
        writer.add(record("a", "a"))
        raise KeyError
    assert part.read_bytes() == before


def test_rewinding_forgets_what_came_after_the_mark(part: Path) -> None:
    with PartWriter(part) as writer:
        writer.add(record("a", "a"))
    expected = part.read_bytes()
    with PartWriter(part) as writer:
        writer.add(record("a", "a"))
        mark = writer.mark()
        for event in all_events():
            writer.add(event)
        writer.rewind(mark)
    assert part.read_bytes() == expected
    assert list(read_part(part)) == [record("a", "a")]


def test_part_goes_on_after_rewinding(part: Path) -> None:
    with PartWriter(part) as writer:
        mark = writer.mark()
        writer.add(record("a", "a"))
        writer.rewind(mark)
        writer.add(record("b", "b"))
    assert list(read_part(part)) == [record("b", "b")]


def test_rewinding_forgets_unreadable_inputs_too(part: Path) -> None:
    unreadable = Failure("unreadable", "a.mp4", 3, "frame cannot be converted")
    with PartWriter(part) as writer:
        writer.add(unreadable)
        mark = writer.mark()
        writer.add(unreadable)
        writer.rewind(mark)
        assert writer.n_unreadable == 1


def test_only_unreadable_inputs_are_counted(part: Path) -> None:
    with PartWriter(part) as writer:
        for event in all_events():
            writer.add(event)
        assert writer.n_unreadable == 2


@pytest.mark.parametrize("with_values", [True, False])
def test_part_that_was_cut_short_is_refused(part: Path, with_values: bool) -> None:  # noqa: FBT001
    write_part(part)
    whole = part.read_bytes()
    for end in range(0, len(whole) - 1, 5):
        part.write_bytes(whole[:end])
        with pytest.raises(StorageError, match=r"unit\.part: cut short\. Delete it and run"):
            list(read_part(part, with_values=with_values))


def test_part_with_any_changed_byte_is_refused(part: Path) -> None:
    write_part(part)
    whole = part.read_bytes()
    for at in range(0, len(whole), 7):
        part.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(StorageError, match=r"unit\.part: (damaged|cut short).* Delete it and"):
            list(read_part(part))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"kind":"unreadable"', b'"kind":"unreadible"', "kind must be one of"),
        (b'"split":"train"', b'"split":"tra_n"', "split must be one of train, val, test"),
        (b'"bytes":', b'"bytes":9', "a record of 9"),
        (b'{"bytes":', b'["bytes":', "no JSON"),
        (b'"boxes":{"1"', b'"boxes":{"x"', "invalid literal"),
        (b'"failure":{', b'"failxre":{', "'file' is missing"),
    ],
)
def test_part_that_was_altered_is_refused(part: Path, old: bytes, new: bytes, what: str) -> None:
    write_part(part)
    whole = part.read_bytes()
    assert old in whole
    damaged = whole.replace(old, new, 1)
    begin, _, mark = struct.unpack(">QI8s", whole[-20:])
    checksum = zlib.crc32(damaged[begin:-20])
    part.write_bytes(damaged[:-20] + struct.pack(">QI8s", begin, checksum, mark))
    with pytest.raises(StorageError, match=r"unit\.part: ") as told:
        list(read_part(part))
    assert what in str(told.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text.replace('"units"', '"unit"', 1), r"journal\.jsonl:1: units is missing"),
        (lambda text: text.replace('"sizes":{', '"sizes":[{', 1), r"journal\.jsonl:1: no JSON"),
        (lambda text: text.replace('"manifest.jsonl":', '"manifest.jsonl":-', 1), "whole number"),
        (
            lambda text: text.replace('"manifest.jsonl":', '"manifest.jsonl":9', 1),
            "has .* bytes of",
        ),
        (
            lambda _: "[" * 5000 + "]" * 5000 + "\n",
            r"journal\.jsonl:1: lists and objects must not be nested more",
        ),
        (
            lambda text: text.replace('"last_key":"0', '"last_key":"-', 1),
            "not those of the records",
        ),
    ],
)
def test_unfinished_corpus_whose_journal_was_altered_is_refused(
    folder: Path, change: Callable[[str], str], what: str
) -> None:
    append(folder, units()[:2])
    path = folder / "journal.jsonl"
    *rest, last = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text(change(last), "utf-8")
    assert rest
    with pytest.raises(StorageError, match=what):
        CorpusWriter(folder)


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("data.mdb", b"real/001/0001" * 3),
        ("manifest.jsonl", b"dlib"),
        ("failures.jsonl", b"reason"),
        ("boxes.json", b"[1"),
    ],
)
def test_unfinished_corpus_with_a_changed_byte_is_refused(
    folder: Path, name: str, old: bytes
) -> None:
    append(folder, units())
    path = folder / name
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, old[:-1] + bytes([old[-1] ^ 1])))
    with pytest.raises((StorageError, ManifestError), match=name.replace(".", r"\.")):
        CorpusWriter(folder)


def test_unfinished_corpus_whose_manifest_was_cut_is_refused(folder: Path) -> None:
    append(folder, units()[:2])
    os.truncate(folder / "manifest.jsonl", 10)
    with pytest.raises(
        StorageError, match=r"manifest\.jsonl: damaged: it has 10 bytes of .* Delete"
    ):
        CorpusWriter(folder)


def test_record_without_a_value_cannot_be_stored(part: Path) -> None:
    with PartWriter(part) as writer, pytest.raises(ValueError, match="without a value"):
        writer.add(Record(record("a", "a").sample, None))


def test_part_in_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="cannot be written: No such file or directory"),
        PartWriter(tmp_path / "nowhere" / "unit.part"),
    ):
        pass
