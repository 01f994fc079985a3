import json
import pickle
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hffkit.errors import ManifestError, UnknownNameError
from hffkit.input_files import read_json_lines
from hffkit.manifest.classes import FFPP, HFF_8, ClassTable, FaceClass, numbered
from hffkit.manifest.failures import Failure, FailureKind, read_failures
from hffkit.manifest.lines import read_manifest, sample_of
from hffkit.manifest.samples import (
    SPLITS,
    GroupGuard,
    Sample,
    json_line,
    json_text,
    with_index,
)
from hffkit.manifest.seeds import rank, rng_for

SAMPLE = Sample(
    key="ff++/c23/Deepfakes/000_003/0042",
    cls="Deepfakes",
    split="train",
    group="000+003",
    source="manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
    source_sha256="ab" * 32,
    frame=42,
    box=(10, 20, 130),
    detector="dlib-frontal grey upsample=1 largest margin=1.3 on ä.mp4",
    sha256="cd" * 32,
    pixels_sha256="ef" * 32,
    index=7,
)
LINE = (
    '{"box":[10,20,130],"cls":"Deepfakes",'
    '"detector":"dlib-frontal grey upsample=1 largest margin=1.3 on ä.mp4",'
    '"frame":42,"group":"000+003","index":7,"key":"ff++/c23/Deepfakes/000_003/0042",'
    f'"operations":[],"pixels_sha256":"{"ef" * 32}","sha256":"{"cd" * 32}",'
    '"source":"manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",'
    f'"source_sha256":"{"ab" * 32}","split":"train"}}\n'
)
TEXT = st.text(max_size=6)
WHOLE = st.integers(0, 2**63 - 1)
SHA256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
SAMPLES = st.builds(
    Sample,
    key=TEXT.filter(bool),
    cls=TEXT,
    split=st.sampled_from(SPLITS),
    group=TEXT,
    source=TEXT,
    source_sha256=SHA256,
    frame=st.none() | WHOLE,
    box=st.none() | st.tuples(WHOLE, WHOLE, st.integers(1, 2**63 - 1)),
    detector=st.none() | TEXT,
    sha256=SHA256,
    pixels_sha256=SHA256,
    operations=st.just(()),
    index=st.integers(0, 10**8 - 1),
    facts=st.none()
    | st.dictionaries(
        TEXT, TEXT | WHOLE.map(int.__neg__) | st.floats(allow_nan=False, allow_infinity=False)
    ),
)


def test_manifest_line_is_exactly_these_bytes() -> None:
    assert SAMPLE.to_line().encode() == LINE.encode()


def test_json_files_are_sorted_indented_by_one_and_of_utf_8() -> None:
    assert json_text({"b": ["ä"], "a": None}) == '{\n "a": null,\n "b": [\n  "ä"\n ]\n}\n'


@given(SAMPLES, TEXT | st.just('"index":null'))
def test_an_index_is_put_into_a_line_as_into_a_sample(sample: Sample, cls: str) -> None:
    sample = sample._replace(cls=cls)
    line = sample._replace(index=None).to_line()
    assert with_index(line, sample.index or 0) == sample.to_line()


@given(st.lists(SAMPLES, max_size=2))
def test_samples_come_back_as_they_were_saved(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]
) -> None:
    path = tmp_path_factory.getbasetemp() / "manifest.jsonl"
    path.write_bytes("".join(sample.to_line() for sample in samples).encode())
    assert list(read_manifest(path)) == samples


@given(st.builds(Failure, st.sampled_from(get_args(FailureKind)), TEXT, st.none() | WHOLE, TEXT))
def test_failures_come_back_as_they_were_saved(
    tmp_path_factory: pytest.TempPathFactory, failure: Failure
) -> None:
    path = tmp_path_factory.getbasetemp() / "failures.jsonl"
    path.write_bytes(failure.to_line().encode() * 2)
    assert list(read_failures(path)) == [failure, failure]


def test_path_that_is_no_utf_8_comes_back_from_valid_utf_8(tmp_path: Path) -> None:
    sample = SAMPLE._replace(source="videos/\udcff\udc80.mp4")
    path = tmp_path / "manifest.jsonl"
    path.write_text(sample.to_line(), "utf-8")
    assert list(read_manifest(path)) == [sample]


def test_sample_without_an_index_comes_back_too() -> None:
    sample = SAMPLE._replace(index=None, box=None, frame=None, detector=None)
    assert sample_of(json.loads(sample.to_line())) == sample


def test_record_key_is_eight_digits_and_the_sample_key() -> None:
    assert SAMPLE.lmdb_key == b"00000007_ff++/c23/Deepfakes/000_003/0042"
    assert SAMPLE._replace(key="Gesicht ä").lmdb_key == b"00000007_Gesicht \xc3\xa4"
    with pytest.raises(ValueError, match=r"sample 'ff\+\+/c23.*' has no index yet"):
        assert SAMPLE._replace(index=None).lmdb_key


@pytest.mark.parametrize("name", json.loads(LINE))
def test_missing_field_is_named(name: str) -> None:
    row = json.loads(LINE)
    del row[name]
    with pytest.raises(ManifestError, match=f"missing or unknown fields: {name}\\."):
        sample_of(row)


def test_unknown_field_is_named() -> None:
    with pytest.raises(ManifestError, match=r"missing or unknown fields: colour\."):
        sample_of({**json.loads(LINE), "colour": "red"})


def test_damaged_line_is_named_by_file_and_number(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    for damaged, what in (
        (LINE.encode()[:50], "no JSON"),
        (b"\n", "no JSON"),
        (b"[1, 2]\n", r"must be a JSON object, got \[1, 2\]"),
        (b'{"key":"a"}\n', "missing or unknown fields: box, cls"),
        (LINE.replace('"train"', '"dev"').encode(), "split must be one of train, val, test, got"),
        (LINE.replace("abab", "ab", 1).encode(), "source_sha256 must be a SHA-256 of 64 hex"),
        (LINE.replace("cdcd", "xyxy", 1).encode(), "sha256 must be a SHA-256"),
        (LINE.replace("[10,20,130]", "[10,20]").encode(), r"box must be \[x, y, size\]"),
        (LINE.replace("[10,20,130]", "7").encode(), r"box must be .*, or null, got 7\."),
        (LINE.replace('"index":7', '"index":null').encode(), "the sample has no index"),
    ):
        path.write_bytes(LINE.encode() + damaged)
        with pytest.raises(ManifestError, match=re.escape(f"{path}:2: ") + ".*" + what):
            list(read_manifest(path))


@pytest.mark.parametrize("name", [name for name in Sample._fields if name != "facts"])
@pytest.mark.parametrize(
    "value",
    [None, {}, [], [[]], -5, "", "x", True, 1.5, 10**30, {"op": 1}, [{}], [{"op": []}], "\ud800"],
)
def test_a_value_of_another_type_or_range_is_refused_with_its_name(name: str, value: Any) -> None:
    row = json.loads(LINE)
    fits: dict[str, list[Any]] = {
        "frame": [None],
        "box": [None],
        "detector": [None, "", "x"],
        "index": [None],
        "operations": [[]],
        "key": ["x"],
        "cls": ["", "x"],
        "group": ["", "x"],
        "source": ["", "x"],
    }
    if value in fits.get(name, []) and value is not True:
        assert sample_of({**row, name: value})
        return
    with pytest.raises(ManifestError, match=f"^{name} must be .*, got "):
        sample_of({**row, name: value})


@pytest.mark.parametrize(
    "facts", [[], "x", {"fps": None}, {"fps": []}, {"fps": True}, {"fps": 10**30}, {"fps": {}}]
)
def test_facts_are_texts_and_numbers(facts: Any) -> None:
    with pytest.raises(ManifestError, match=r"^facts must be an object of texts and numbers"):
        sample_of({**json.loads(LINE), "facts": facts})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("NaN", "NaN is no finite number"),
        ("-Infinity", "-Infinity is no finite number"),
        ("1e400", "1e400 is no finite number"),
        ("7" * 5000, "5000 digits"),
        ("[" * 100_000 + "]" * 100_000, "must not be nested more than 64 deep"),
        ('[{"op":"own","deep":' + "[" * 10 + "]" * 10 + "}]", "operations must be"),
    ],
)
def test_endless_numbers_and_nesting_are_refused_with_the_line(
    tmp_path: Path, text: str, what: str
) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(LINE + LINE.replace('"operations":[]', f'"operations":{text}'), "utf-8")
    with pytest.raises(ManifestError, match=re.escape(f"{path}:2: ") + ".*" + what):
        list(read_manifest(path))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"kind": "lost"}, "kind must be one of unreadable, damaged"),
        ({"path": None}, "path must be a text"),
        ({"frame": -1}, "frame must be a whole number"),
        ({"frame": "1"}, "frame must be a whole number"),
        ({"reason": 7}, "reason must be a text"),
        ({"more": 7}, "unknown more"),
    ],
)
def test_a_failure_of_another_form_is_refused_with_the_line(
    tmp_path: Path, changed: dict[str, Any], what: str
) -> None:
    good = Failure("unreadable", "a.jpg", 3, "empty").to_line()
    path = tmp_path / "failures.jsonl"
    path.write_text(good + json_line({**json.loads(good), **changed}), "utf-8")
    with pytest.raises(ManifestError, match=re.escape(f"{path}:2: ") + what):
        list(read_failures(path))


def test_manifest_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(LINE.encode("latin-1"))
    with pytest.raises(ManifestError, match=re.escape(str(path))):
        list(read_manifest(path))


def test_missing_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    message = re.escape(f"{path}: cannot be read: No such file or directory.")
    with pytest.raises(ManifestError, match=message):
        list(read_manifest(path))


def test_manifest_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(LINE + "damaged", "utf-8")
    assert next(read_manifest(path)) == SAMPLE


def test_json_lines_separate_objects_by_lf_alone(tmp_path: Path) -> None:
    row = {"b": "line\u2028 \x85 \r\n \x0b end", "a": None}
    line = json_line(row)
    assert line == '{"a":null,"b":"line\u2028 \x85 \\r\\n \\u000b end"}\n'
    (tmp_path / "rows").write_bytes(line.encode() * 2)
    assert list(read_json_lines(tmp_path / "rows", ManifestError)) == [row, row]


def test_equal_samples_in_one_group_and_split_are_let_through() -> None:
    guard = GroupGuard()
    for key in ("a", "b"):
        guard.check(SAMPLE._replace(key=key))


def test_group_across_splits_is_refused_with_a_member_of_each() -> None:
    guard = GroupGuard()
    guard.check(SAMPLE._replace(key="one"))
    guard.check(SAMPLE._replace(key="two"))
    message = (
        r"Group '000\+003' leaks across splits: 'one' is train, 'three' is val\. "
        r"Split by group, not by frame\."
    )
    with pytest.raises(ManifestError, match=message):
        guard.check(SAMPLE._replace(key="three", split="val"))


def test_key_that_occurs_twice_is_refused() -> None:
    guard = GroupGuard()
    guard.check(SAMPLE)
    with pytest.raises(ManifestError, match=r"Sample key 'ff\+\+/.*' occurs twice"):
        guard.check(SAMPLE._replace(group="001+870"))


def test_splits_are_train_val_test() -> None:
    assert SPLITS == ("train", "val", "test")


def test_random_stream_is_that_of_its_names() -> None:
    # numpy 2.4.6; another stream would silently make another corpus.
    assert rng_for(7, "jpeg", "a").integers(0, 1000, 3).tolist() == [901, 33, 333]


def test_random_stream_depends_on_seed_and_every_name() -> None:
    draws = [
        tuple(rng_for(*names).integers(0, 1 << 40, 4))
        for names in ((7, "jpeg", "a"), (8, "jpeg", "a"), (7, "jpeg", "b"), (7, "blur", "a"))
    ]
    assert len(set(draws)) == 4
    assert draws[0] == tuple(rng_for(7, "jpeg", "a").integers(0, 1 << 40, 4))


def test_rank_depends_on_seed_and_every_name() -> None:
    ranks = [rank(0, "split", "a"), rank(1, "split", "a"), rank(0, "trim", "a"), rank(0, "b")]
    assert len(set(ranks)) == 4
    assert rank(0, "split", "a") == ranks[0]
    assert isinstance(rank(0, "name \udcff of a file that is no UTF-8"), bytes)


HFF_ROWS = [
    (0, "CelebA", False),
    (1, "CelebA-HQ", False),
    (2, "YouTube-Frame", False),
    (3, "Glow", True),
    (4, "StarGAN", True),
    (5, "PGGAN", True),
    (6, "StyleGAN", True),
    (7, "Face2Face", True),
]
FFPP_ROWS = [
    (0, "Deepfakes", True),
    (1, "Face2Face", True),
    (2, "FaceSwap", True),
    (3, "NeuralTextures", True),
    (4, "Real", False),
    (5, "FaceShifter", True),
    (6, "DeepFakeDetection", True),
    (7, "Real-actors", False),
]


@pytest.mark.parametrize(("table", "rows"), [(HFF_8, HFF_ROWS), (FFPP, FFPP_ROWS)])
def test_class_table_has_the_ids_and_polarity_of_the_design(
    table: ClassTable, rows: list[tuple[int, str, bool]]
) -> None:
    assert [(row.id, row.name, row.is_fake) for row in table] == rows
    assert table.names == tuple(name for _, name, _ in rows)
    for number, name, is_fake in rows:
        assert table[name] == FaceClass(number, name, is_fake)
        assert table.label(name, "multi") == number
        assert table.label(name, "binary") == (0 if is_fake else 1)


def test_one_fake_and_one_real_class_are_numbered_as_the_authors_do() -> None:
    assert numbered(["StarGAN"], ["CelebA"]).to_json() == [
        {"id": 0, "name": "StarGAN", "is_fake": True},
        {"id": 1, "name": "CelebA", "is_fake": False},
    ]
    assert numbered(["b", "a"], ["z", "y"]).names == ("b", "a", "z", "y")


def test_class_table_comes_back_from_json() -> None:
    assert ClassTable.from_json(json.loads(json.dumps(FFPP.to_json()))) == FFPP


def test_class_table_cut_to_some_classes_keeps_their_ids() -> None:
    few = FFPP.only(["Real", "FaceSwap"])
    assert [(row.id, row.name) for row in few] == [(2, "FaceSwap"), (4, "Real")]
    with pytest.raises(UnknownNameError, match="No class named 'Reel'"):
        FFPP.only(["Reel"])


def test_id_or_name_of_two_classes_is_refused() -> None:
    with pytest.raises(ManifestError, match="Class id 1 occurs twice in one class table"):
        ClassTable((FaceClass(1, "a", is_fake=True), FaceClass(1, "b", is_fake=False)))
    with pytest.raises(ManifestError, match="Class name a occurs twice in one class table"):
        numbered(["a"], ["a"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Deepfake", r"Did you mean 'Deepfakes'\?"),
        ("NeuralTexture", r"Did you mean 'NeuralTextures'\?"),
        ("qqq", "Known: Deepfakes, Face2Face, FaceSwap, NeuralTextures, Real, FaceShifter"),
    ],
)
def test_unknown_class_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"No class named '{name}'. {hint}"):
        FFPP[name]


def test_unknown_name_error_survives_pickling() -> None:
    error = UnknownNameError("class", "Glov", iter(HFF_8.names))
    again: Any = pickle.loads(pickle.dumps(error))
    assert isinstance(again, UnknownNameError)
    assert str(again) == str(error) == "No class named 'Glov'. Did you mean 'Glow'?"
