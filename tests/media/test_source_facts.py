"""Facts of source files, recorded where a corpus does not store the files themselves."""

from pathlib import Path
from typing import Any

import av
from makers.trees import build_corpus, rows, write_clip, write_image

from hffkit.corpus.pack import PackRequest, pack
from hffkit.manifest.samples import Sample
from hffkit.media.source_facts import image_facts


def test_facts_of_images_are_those_of_their_headers(tmp_path: Path) -> None:
    jpeg = write_image(tmp_path / "a.jpg", quality=83, subsampling=0).read_bytes()
    assert image_facts(jpeg) == {
        "codec": "jpeg", "width": 40, "height": 32, "quality": 83, "tables": "ijg",
        "subsampling": "4:4:4", "has_exif": 0,
    }  # fmt: skip
    png = write_image(tmp_path / "a.png").read_bytes()
    assert image_facts(png) == {"codec": "png", "width": 40, "height": 32, "bits": 8}
    assert image_facts(write_image(tmp_path / "a.bmp").read_bytes())["codec"] == "bmp"
    assert image_facts(b"") == {}


def _built(folder: Path, **arguments: Any) -> list[dict[str, Any]]:
    write_image(folder / "in/a/1.jpg", 1, quality=60)
    write_image(folder / "in/b/2.jpg", 2, quality=90)
    corpus = build_corpus(
        "folder", folder / "in", folder / "x.lmdb", real=("a",), fake=("b",), **arguments
    )
    return rows(corpus / "manifest.jsonl")


def test_a_stored_file_needs_no_facts_and_a_packed_one_keeps_them(tmp_path: Path) -> None:
    native = _built(tmp_path / "native")
    assert all("facts" not in row for row in native)
    packed = _built(tmp_path / "packed", size=16)
    assert sorted(row["facts"]["quality"] for row in packed) == [60, 90]
    pack([str(tmp_path / "packed/x.lmdb")], tmp_path / "y", PackRequest(size=16), n_workers=1)
    again = rows(tmp_path / "y/manifest.jsonl")
    assert [row["facts"] for row in again] == [row["facts"] for row in packed]
    pack([str(tmp_path / "native/x.lmdb")], tmp_path / "z", PackRequest(size=16), n_workers=1)
    of_files = rows(tmp_path / "z/manifest.jsonl")
    assert [row["facts"] for row in of_files] == [row["facts"] for row in packed]


def test_frames_of_a_video_keep_its_codec_and_rates(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in/a/1.mp4")
    write_clip(tmp_path / "in/b/2.mp4", first=9)
    corpus = build_corpus(
        "folder", tmp_path / "in", tmp_path / "x.lmdb", real=("a",), fake=("b",), crop="none"
    )
    lines = rows(corpus / "manifest.jsonl")
    found = next(row["facts"] for row in lines if row["cls"] == "a")
    with av.open(str(clip)) as file:
        stream = file.streams.video[0]
        assert (found["codec"], found["width"], found["height"]) == ("h264", 160, 160)
        assert stream.average_rate is not None
        assert found["fps"] == float(stream.average_rate)
        seconds = 6 / float(stream.average_rate)
    assert abs(found["bit_rate"] - 8 * clip.stat().st_size / seconds) < 1


def test_lines_of_older_corpora_are_read_and_written_as_they_were() -> None:
    old = Sample("a", "x", "train", "a", "a", "0" * 64, None, None, None, "0" * 64, "0" * 64)
    assert "facts" not in old.to_line()
    new = old._replace(facts={"codec": "png"})
    assert '"facts":{"codec":"png"}' in new.to_line()
