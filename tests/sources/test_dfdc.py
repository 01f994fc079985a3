"""DFDC: videos that no table names, the test set, frames beside videos."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from makers.trees import items, listing, touch

from hffkit.errors import CorpusError


def part(root: Path, name: str, n: int = 10) -> None:
    """Lay out a part: `n` originals with a forgery each, named by the part's name."""
    meta: dict[str, dict[str, str]] = {}
    for k in range(n):
        meta[f"{name}r{k}.mp4"] = {"label": "REAL", "split": "train"}
        meta[f"{name}f{k}.mp4"] = {"label": "FAKE", "original": f"{name}r{k}.mp4"}
    touch(root / name, *meta)
    (root / name / "metadata.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("name", ["extra.mp4", "deep/extra.mp4", "extra.MOV"])
def test_videos_that_no_table_names_are_failures(tmp_path: Path, name: str) -> None:
    part(tmp_path, "a")
    touch(tmp_path, f"a/{name}", "b/beside.mp4", "a/cover.png", "a/readme.txt")
    found = listing("dfdc", tmp_path)
    assert len(items(found)) == 20
    assert {(f.kind, f.path) for f in found.failures} == {
        ("unreadable", f"a/{name}"),
        ("unreadable", "b/beside.mp4"),
    }
    notes = " ".join(found.notes)
    assert "1 file of another kind or folder than this command reads: a/cover.png" in notes
    assert "1 file neither image nor video (1 .txt): a/readme.txt" in notes


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\na.mp4,1\nb.mp4,0\n",
        "\ufefffilename,label\r\na.mp4,1\r\nb.mp4,0\r\n",
        "Filename,Label,other\na.mp4,1.0,x\nb.mp4,0.0,y\n",
        "label,filename\nFAKE,a.mp4\nreal,b.mp4\n",
        "filename;label\na.mp4;1,0\n\nb.mp4;0\n",
        '"filename"\t"label"\n"a.mp4"\t"1"\n"b.mp4"\t"0"\n',
        "filename,label\na.mp4,1\nb.mp4,0\na.mp4,1.0\n",
        "filename,label\ntest\\a.mp4,1\nb.mp4,0\n",
    ],
)
@pytest.mark.parametrize(
    ("folder", "split"), [("test", "test"), ("dfdc", "test"), ("validation", "val")]
)
@pytest.mark.parametrize("videos", ["", "videos/"])
def test_held_out_sets_keep_their_split(
    tmp_path: Path, text: str, folder: str, split: str, videos: str
) -> None:
    touch(tmp_path / folder, f"{videos}a.mp4", f"{videos}b.mp4")
    (tmp_path / folder / "labels.csv").write_text(text, "utf-8", newline="")
    for root in (tmp_path, tmp_path / folder):
        found = listing("dfdc", root)
        assert [(item.cls, item.split) for item in items(found)] == [
            ("DFDC-fake", split),
            ("DFDC-real", split),
        ]
        assert (found.failures, found.notes) == ((), ())


def test_parts_beside_the_test_set_give_no_test_sample(tmp_path: Path) -> None:
    part(tmp_path, "dfdc_train_part_0", 40)
    touch(tmp_path / "test", "x.mp4", "y.mp4")
    (tmp_path / "test/labels.csv").write_text("filename,label\nx.mp4,1\ny.mp4,0\ngone.mp4,1\n")
    found = listing("dfdc", tmp_path)
    splits = defaultdict(set)
    for item in items(found):
        splits[item.path.split("/")[0]].add(item.split)
    assert splits == {"dfdc_train_part_0": {"train", "val"}, "test": {"test"}}
    assert [(f.path, f.reason) for f in found.failures] == [
        ("test/gone.mp4", "in labels.csv, not there")
    ]


def test_frames_follow_their_video(tmp_path: Path) -> None:
    part(tmp_path, "a", 20)
    for k in range(20):
        touch(tmp_path / "a/frames", *(f"a{kind}{k}/{n:03}.png" for kind in "rf" for n in range(2)))
    found = listing("dfdc", tmp_path)
    assert len(items(found)) == 40 + 80
    splits = defaultdict(set)
    for item in items(found):
        assert item.group.startswith("ar")  # the original
        splits[item.group].add(item.split)
    assert len(splits) == 20
    assert all(len(each) == 1 for each in splits.values())


@pytest.mark.parametrize(
    "text",
    ["", "a.mp4,1\n", "filename,label\na.mp4,2\n", "filename,label\n,1\n", "filename\na.mp4\n"],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CorpusError, match=r"labels\.csv"):
        listing("dfdc", tmp_path)


def test_without_a_table_there_is_advice(tmp_path: Path) -> None:
    touch(tmp_path, "test/a.mp4")
    with pytest.raises(CorpusError, match=r"no metadata\.json or labels\.csv .*build list"):
        listing("dfdc", tmp_path)


REAL, FAKE = {"label": "REAL"}, {"label": "FAKE", "original": "r.mp4"}


def metadata(root: Path, *lines: tuple[str, dict[str, str]]) -> None:
    """Write a metadata.json, in which keys may be doubled."""
    text = ", ".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in lines)
    (root / "metadata.json").write_text(f"{{{text}}}")


def test_lines_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "r.mp4")
    metadata(tmp_path, ("a.mp4", FAKE), ("r.mp4", REAL), ("a.mp4", REAL))
    with pytest.raises(CorpusError, match=r"a\.mp4 is DFDC-fake .* and DFDC-real .*metadata"):
        listing("dfdc", tmp_path)
    metadata(tmp_path, ("a.mp4", FAKE), ("r.mp4", REAL), ("a.mp4", {**FAKE, "original": "b.mp4"}))
    with pytest.raises(CorpusError, match=r"a\.mp4 is DFDC-fake of r\.mp4 .* of b\.mp4"):
        listing("dfdc", tmp_path)
    (tmp_path / "metadata.json").unlink()
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nr.mp4,0\na.mp4,0\n")
    with pytest.raises(CorpusError, match=r"a\.mp4 is DFDC-fake .* and DFDC-real .*labels"):
        listing("dfdc", tmp_path)


def test_videos_that_differ_in_their_suffixes_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "v3.mp4", "v3.avi", "frames/v3.avi/0.png")
    metadata(tmp_path, ("v3.mp4", REAL), ("v3.avi", FAKE))
    assert {item.path: item.cls for item in items(listing("dfdc", tmp_path))} == {
        "v3.mp4": "DFDC-real",
        "v3.avi": "DFDC-fake",
        "frames/v3.avi/0.png": "DFDC-fake",
    }
    touch(tmp_path, "frames/v3/0.png")
    with pytest.raises(CorpusError, match=r"frames/v3: may be v3\.avi or v3\.mp4"):
        listing("dfdc", tmp_path)


def test_both_tables_of_a_folder_are_used(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "r.mp4", "b.mp4")
    metadata(tmp_path, ("a.mp4", FAKE), ("r.mp4", REAL))
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\ngone.mp4,0\n")
    found = listing("dfdc", tmp_path)
    assert {item.path: (item.cls, item.split, item.group) for item in items(found)} == {
        "a.mp4": ("DFDC-fake", "test", "r.mp4"),
        "b.mp4": ("DFDC-real", "test", "b.mp4"),
        "r.mp4": ("DFDC-real", "test", "r.mp4"),  # as its forgery
    }
    assert [(f.path, f.reason) for f in found.failures] == [
        ("gone.mp4", "in labels.csv, not there")
    ]
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,0\n")
    with pytest.raises(
        CorpusError, match=r"DFDC-real .*labels\.csv and DFDC-fake .*metadata\.json"
    ):
        listing("dfdc", tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"a.mp4": []}', '{"a.mp4": {}}', '{"a.mp4": "REAL"}', "1"])
def test_metadata_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(CorpusError, match=r"metadata\.json: (must be|a\.mp4: label is missing)"):
        listing("dfdc", tmp_path)


def test_a_video_beside_the_one_that_is_named_is_another(tmp_path: Path) -> None:
    part(tmp_path, "a", 4)
    touch(tmp_path, "a/ar0.avi")
    found = listing("dfdc", tmp_path)
    assert len(items(found)) == 8
    assert [(f.kind, f.path) for f in found.failures] == [("unreadable", "a/ar0.avi")]
    (tmp_path / "a/ar0.mp4").unlink()  # converted
    found = listing("dfdc", tmp_path)
    assert (len(items(found)), found.failures) == (8, ())


def test_a_key_twice_in_a_row_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    text = '{"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "label": "REAL"}}'
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(CorpusError, match=r"metadata\.json: b\.mp4 has a key twice\. Delete"):
        listing("dfdc", tmp_path)
