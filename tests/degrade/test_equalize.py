"""`hffkit equalize`: one size and one JPEG history for all images."""

import io
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from makers.command_server import CommandServer
from makers.copies import scene
from makers.programs import dying_at
from makers.trees import about, all_files, build_corpus, change_records, encoded_data, records, rows
from PIL import Image

from hffkit.corpus.pack import PackRequest, pack
from hffkit.degrade.equalize import EqualizeRequest, equalize, reduced
from hffkit.errors import ArgumentError, CorpusError, ImageError
from hffkit.storage.corpus import Corpus

Run = Callable[..., Result]
# Commits are of 64 MiB, which small images never come to: here each unit is one.
OFTEN = "from hffkit.storage import writer\nwriter._COMMIT_BYTES = 1\n"


def _save(path: Path, number: int, size: tuple[int, int], **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(scene(number, side=max(size)))
    image.crop((0, 0, *size)).save(path, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def unfair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus whose classes differ in format, quality, subsampling, metadata and size."""
    folder = tmp_path_factory.mktemp("unfair")
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    for number in range(24):
        split = ("train", "test")[number % 2]
        _save(
            folder / f"in/{split}/photo/{number}.jpg", number, (96, 110), quality=92,
            subsampling=0, exif=exif, progressive=True,
        )  # fmt: skip
        _save(folder / f"in/{split}/gan/{number}.jpg", 100 + number, (88, 88), quality=60)
        _save(folder / f"in/{split}/swap/{number}.png", 200 + number, (140, 90))
    classes = {"real": ("photo",), "fake": ("gan", "swap")}
    return build_corpus("folder", folder / "in", folder / "x.lmdb", **classes)  # type: ignore[arg-type]


def _files(corpus: Path) -> list[bytes]:
    return [encoded_data(value)[0] for _, value in records(corpus)]


def test_all_images_become_files_of_one_form(unfair: Path, tmp_path: Path) -> None:
    info = equalize([str(unfair)], tmp_path / "fair", EqualizeRequest(), n_workers=1)
    assert info.provenance.options["size"] == 64  # 3/4 of 88 in whole blocks
    forms = set()
    for encoded in _files(tmp_path / "fair"):
        with Image.open(io.BytesIO(encoded)) as image:
            tables = tuple(tuple(table) for table in image.quantization.values())  # type: ignore[attr-defined]
            layers = tuple(image.layer)  # type: ignore[attr-defined]
            forms.add((image.format, image.size, tables, layers, tuple(sorted(image.info))))
    ((kind, size, tables, layers, facts),) = forms
    assert (kind, size) == ("JPEG", (64, 64))
    assert [layer[1:3] for layer in layers] == [(2, 2), (1, 1), (1, 1)]  # 4:2:0
    # Quality 75 halves the tables of the standard: 16 becomes 8, 17 becomes 9.
    assert (tables[0][0], tables[1][0]) == (8, 9)
    assert not {"exif", "icc_profile", "progressive", "comment"} & set(facts)


def test_pixels_are_means_of_areas_of_the_middle_square() -> None:
    image = scene(3, side=120)[:, 10:106]  # 120 x 96: 12 rows are cut off above and below
    square = image[12:108].astype(np.float64)
    expected = square.reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduced(image, 32) - expected).max() <= 0.5 + 1e-9
    lying = np.ascontiguousarray(image.transpose(1, 0, 2))
    assert np.array_equal(reduced(lying, 32), reduced(image, 32).transpose(1, 0, 2))
    for size in (96, 100):
        with pytest.raises(ImageError, match=f"96x120 pixels cannot be reduced to {size}x{size}"):
            reduced(image, size)


def test_everything_else_stays_and_the_operations_are_recorded(
    unfair: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fair"
    equalize([str(unfair)], out, EqualizeRequest(size=40, quality=80), n_workers=1)
    kept = ("key", "cls", "split", "group", "source", "source_sha256", "index")
    before, after = rows(unfair / "manifest.jsonl"), rows(out / "manifest.jsonl")
    assert [[row[name] for name in kept] for row in after] == [
        [row[name] for name in kept] for row in before
    ]
    for row, encoded in zip(after, _files(out), strict=True):
        area, jpeg = row["operations"]
        assert (area["op"], area["size"]) == ("area:40", 40)
        assert (jpeg["op"], jpeg["quality"]) == ("jp:80", 80)
        assert jpeg["achieved_ratio"] == round(3 * 40 * 40 / len(encoded), 4)
    assert about(out)["verb"] == "equalize"
    assert about(out)["options"]["quality"] == 80


def test_the_result_is_the_same_for_any_number_of_workers_and_packed_corpora_work(
    unfair: Path, tmp_path: Path, run: Run
) -> None:
    for n in (1, 2):
        equalize([str(unfair)], tmp_path / f"w{n}", EqualizeRequest(), n_workers=n)
    assert all_files(tmp_path / "w1") == all_files(tmp_path / "w2")
    assert run("verify", tmp_path / "w1", "--workers", 1).exit_code == 0
    pack([str(unfair)], tmp_path / "packed", PackRequest(size=80), n_workers=1)
    made = equalize([str(tmp_path / "packed")], tmp_path / "p", EqualizeRequest(), n_workers=1)
    assert made.provenance.options["size"] == 56  # 60 in whole blocks
    assert made.provenance.layout == "native"
    assert run("verify", tmp_path / "p", "--workers", 1).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("death", [("journal.jsonl", 1), ("journal.jsonl", 3), ("corpus.json", 1)])
def test_equalizing_that_was_killed_goes_on_and_gives_the_same_corpus(
    unfair: Path, tmp_path: Path, death: tuple[str, int], run: Run, commands: CommandServer
) -> None:
    out = tmp_path / "x"
    command = ["equalize", str(unfair), "--workers", "1", "--out", str(out)]
    assert commands.run(command, dying_at(*death) + OFTEN)[0] == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [tmp_path / "x.partial"]
    other = run("equalize", unfair, "--quality", 80, "--out", out).output
    assert "begun by another command: options.quality was 75, is now 80" in other
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert list(tmp_path.iterdir()) == [out]
    whole = equalize([str(unfair)], tmp_path / "whole", EqualizeRequest(), n_workers=1)
    assert about(out) == whole.to_json()
    assert rows(out / "manifest.jsonl") == rows(tmp_path / "whole/manifest.jsonl")
    assert records(out) == records(tmp_path / "whole")


def test_facts_of_sources_go_with_the_history_that_they_describe(
    unfair: Path, tmp_path: Path
) -> None:
    folder = unfair.parent / "in"
    classes: dict[str, Any] = {"real": ("photo",), "fake": ("gan", "swap")}
    packed = build_corpus("folder", folder, tmp_path / "packed", size=80, **classes)
    assert all(sample.facts for sample in Corpus(packed).samples())
    equalize([str(packed)], tmp_path / "fair", EqualizeRequest(), n_workers=1)
    assert not any(sample.facts for sample in Corpus(tmp_path / "fair").samples())


def test_a_size_that_not_all_images_are_reduced_to_is_refused(
    unfair: Path, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(CorpusError, match="has a side of 88 px: it cannot be reduced to 88 px"):
        equalize([str(unfair)], tmp_path / "x", EqualizeRequest(size=88), n_workers=1)
    for wrong in (EqualizeRequest(size=4), EqualizeRequest(quality=0)):
        with pytest.raises(ArgumentError, match="must be from"):
            equalize([str(unfair)], tmp_path / "x", wrong, n_workers=1)
    result = run("equalize", unfair, "--size", 200, "--out", tmp_path / "x")
    assert result.exit_code == 1
    assert "Choose a smaller --size, or leave it out" in result.output
    assert not list(tmp_path.iterdir())


def test_the_command_prints_the_form_and_reports_damaged_records(
    unfair: Path, tmp_path: Path, run: Run
) -> None:
    shown = run("equalize", unfair, "--out", tmp_path / "x", "--workers", 1)
    assert shown.exit_code == 0, shown.output
    assert "every image: 64x64 pixels, JPEG of quality 75" in shown.output
    folder = tmp_path / "damaged"
    for number in range(3):
        _save(folder / f"in/a/{number}.png", number, (60, 60))
    corpus = build_corpus("folder", folder / "in", folder / "raw", real=("a",))
    key = records(corpus)[1][0]
    change_records(corpus, lambda transaction: transaction.put(key, b"no Datum"))
    result = run("equalize", corpus, "--out", tmp_path / "y", "--json", "--workers", 1)
    assert result.exit_code == 3
    made = json.loads(result.output)
    assert (made["n_samples"], made["failures"]) == (2, {"unreadable": 1})


def test_jpeg_facts_tell_the_classes_of_real_faces_no_more(data: Path, tmp_path: Path) -> None:
    """PGGAN's faces were saved at quality 95, those of CelebA-HQ at 75."""
    for name in ("real-celebahq1024", "fake-pggan1024"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for path in sorted((data / "data/images" / name).iterdir())[::2]:
            (tmp_path / "in" / name / path.name).symlink_to(path.resolve())
    classes = {"real": ("real-celebahq1024",), "fake": ("fake-pggan1024",)}
    raw = build_corpus("folder", tmp_path / "in", tmp_path / "raw", **classes)  # type: ignore[arg-type]
    equalize([str(raw)], tmp_path / "fair", EqualizeRequest(size=256), n_workers=2)

    def auc(corpus: Path) -> float:
        """Return the share of pairs in which the fake has the larger file."""
        sizes: dict[str, list[int]] = {"real": [], "fake": []}
        for sample, encoded in zip(Corpus(corpus).samples(), _files(corpus), strict=True):
            sizes[sample.cls.partition("-")[0]].append(len(encoded))
        fakes, reals = np.array(sizes["fake"]), np.array(sizes["real"])
        return float(np.mean(fakes[:, None] > reals) + np.mean(fakes[:, None] == reals) / 2)

    assert auc(raw) > 0.95
    assert 0.35 < auc(tmp_path / "fair") < 0.65
