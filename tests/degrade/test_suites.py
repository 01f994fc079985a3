"""Suites: their files, their values, what is refused, and the commands that take them."""

import csv
import io
import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from makers.trees import about, build_two_classes, encoded_data, records, rows, write_image
from PIL import Image

from hffkit.degrade.chain import chain, split_chain
from hffkit.degrade.preview import preview
from hffkit.degrade.suites import (
    augmentation,
    read_part,
    read_severity,
    read_suite,
)
from hffkit.errors import ArgumentError, HffkitError, RecipeError, UnknownNameError
from hffkit.recipe_files import shipped_names

Run = Callable[..., Result]

SUITE = """
title = "Two"
source = "nowhere"
ours = "all of it"
[chains]
jpeg = ["jp:90", "jp:50"]
"both of them" = ["gb:3+jp:90", "gb:5+jp-mix", "sc:-50"]
"""


@pytest.mark.parametrize("name", shipped_names("suites"))
def test_shipped_suites_are_read_and_travel_to_workers(name: str) -> None:
    suite = read_suite(name)
    assert suite.name == name
    assert pickle.loads(pickle.dumps(suite)) == suite
    for operation in suite.operations:
        severities = [entry.severity for entry in suite.entries if entry.operation == operation]
        assert severities == list(range(1, len(severities) + 1))


def test_suite_of_ones_own_is_read_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SUITE, "utf-8")
    suite = read_suite(str(path))
    assert (suite.name, suite.title, suite.source) == ("own", "Two", "nowhere")
    assert suite.operations == ("jpeg", "both of them")
    assert suite.severities == (1, 2, 3)
    assert [(e.operation, e.severity, e.chain.name) for e in suite.entries] == [
        ("jpeg", 1, "jp:90"),
        ("jpeg", 2, "jp:50"),
        ("both of them", 1, "gb:3+jp:90"),
        ("both of them", 2, "gb:5+jp-mix"),
        ("both of them", 3, "sc:-50"),
    ]
    assert [entry.chain.name for entry in suite.at(2)] == ["jp:50", "gb:5+jp-mix"]
    with pytest.raises(ArgumentError, match="suite own has severities 1 to 3, got 4"):
        suite.at(4)
    path.write_text(SUITE.replace("nowhere", "elsewhere"), "utf-8")
    assert read_suite(str(path)).sha256 == suite.sha256
    path.write_text(SUITE.replace("jp:50", "jp:51"), "utf-8")
    assert read_suite(str(path)).sha256 != suite.sha256


@pytest.mark.parametrize(
    "text", ["me:3", "sc:+50+jp:70", "jp2-97:1e+2+sc:+5+gb-mix", "gb:3+sc:-5+sc-cubic:+5+me:3"]
)
def test_chain_is_parsed_from_its_name(text: str) -> None:
    parsed = chain(*split_chain(text))
    assert len(parsed.steps) == text.replace("e+", "").replace(":+", "").count("+") + 1
    assert chain(*split_chain(parsed.name)) == parsed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Two"', "", "missing title. Every key is required."),
        ('title = "Two"', 'title = "Two"\nurl = "a"', "unknown url. Known: title, source, ours, c"),
        ('"nowhere"', "7", "source must be a text, got 7."),
        ('"nowhere"', '" "', "source must be a text, got ' '."),
        ("jp:50", "jp:500", "chains.jpeg: 'jp:500': quality must be a whole number"),
        ("gb:3+jp", "gb:3+jq", "chains.both of them: No operation named 'jq'. Known: "),
        ('["jp:90", "jp:50"]', "[]", "chains.jpeg must be a list of chains"),
        ('["jp:90", "jp:50"]', "7", "chains.jpeg must be a list of chains"),
        ("[chains]", "[chains", "no TOML: "),
        ("[chains]", "chains = []\n[other]", "unknown other"),
    ],
)
def test_wrong_suite_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(SUITE.replace(old, new), "utf-8")
    with pytest.raises(RecipeError, match=message) as caught:
        read_suite(str(path))
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("table-x", UnknownNameError, "^No suite named 'table-x'. Did you mean 'table-ix'?"),
        ("wqzk", UnknownNameError, "^No suite named 'wqzk'. Known: .*table-ix"),
        ("none.toml", RecipeError, "^none.toml: cannot be read: "),
        ("none.yaml", RecipeError, "^none.yaml: a suite is a TOML file."),
    ],
)
def test_unknown_suite_is_refused(name: str, kind: type[HffkitError], message: str) -> None:
    with pytest.raises(kind, match=message):
        read_suite(name)


@pytest.mark.parametrize("text", ["gend:", "gend:x", "gend:-1", ":1", "gend:9", "gent:x"])
def test_an_impossible_severity_is_a_wrong_argument_wherever_it_is_given(text: str) -> None:
    found = set()
    for read in (read_part, read_severity, lambda name: augmentation([f"suite:{name}"])):
        with pytest.raises(ArgumentError) as caught:
            read(text)
        found.add(str(caught.value))
    assert len(found) == 1


def test_a_path_may_hold_colons(tmp_path: Path) -> None:
    path = tmp_path / "a:b.toml"
    path.write_text(SUITE, "utf-8")
    assert read_part(str(path)).name == "a:b"
    assert read_part(f"{path}:2").name == "a:b:2"


def test_table_ix_has_every_single_value_of_the_paper(data: Path) -> None:
    with (data / "spec/tables/table09_operations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["parameter"] != "sigma"]
    expected = set()
    for row in rows:
        first, dots, last = row["values"].partition("..")
        values = [float(value) for value in first.split(";")]
        if dots:
            values = [float(value) for value in range(int(float(first)), int(float(last)) + 1)]
        sign = -1 if row["operation"] == "scaling down" else 1
        expected |= {(row["code"].lower(), sign * value) for value in values}
    suite = read_suite("table-ix")
    steps = [entry.chain.steps for entry in suite.entries]
    found = [(step.operation.code, step.value) for (step,) in steps]
    assert len(found) == len(set(found))
    assert set(found) == expected


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 300 small images: two units of work."""
    return build_two_classes(tmp_path_factory.mktemp("native"), 300, size=(31, 22))


def pixels(value: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(encoded_data(value)[0])) as image:
        return np.asarray(image)


def test_a_severity_is_stored_with_an_operation_drawn_for_each_image(
    native: Path, tmp_path: Path, run: Run
) -> None:
    for n_workers in (1, 2):
        out = tmp_path / f"{n_workers}.lmdb"
        more = ("--suite", "deeperforensics:3", "--out", out, "--workers", n_workers)
        assert run("degrade", native, *more).exit_code == 0
    assert records(tmp_path / "1.lmdb") == records(out)
    options = about(out)["options"]
    assert options["ops"] == ["deeperforensics:3"]
    assert options["suite"] == read_suite("deeperforensics").sha256
    drawn: Counter[str] = Counter()
    for source, record, sample in zip(
        records(native), records(out), rows(out / "manifest.jsonl"), strict=True
    ):
        (done,) = sample["operations"]
        assert done["suite"] == "deeperforensics:3"
        drawn[done["op"]] += 1
        made = chain(done["op"])(pixels(source[1]), seed=9, key="other").image
        assert np.array_equal(pixels(record[1]), made)
    expected = {entry.chain.name for entry in read_suite("deeperforensics").at(3)}
    assert set(drawn) == expected
    assert min(drawn.values()) > 300 / 7 / 2


def test_another_seed_draws_other_operations(native: Path, tmp_path: Path, run: Run) -> None:
    found = []
    for seed in (0, 1):
        out = tmp_path / f"{seed}.lmdb"
        more = ("--suite", "social-repost:2", "--seed", seed, "--out", out, "--workers", 1)
        assert run("degrade", native, *more).exit_code == 0
        drawn = [[done["op"] for done in s["operations"]] for s in rows(out / "manifest.jsonl")]
        assert {tuple(names) for names in drawn} == {
            ("jp:78", "grid:4", "jp:78"),
            ("jp:78", "screen:80", "jp:78"),
        }
        found.append(drawn)
    assert found[0] != found[1]


def test_copies_of_a_mix_are_named_after_the_severity(tmp_path: Path, run: Run) -> None:
    small = build_two_classes(tmp_path / "small", 12)
    copies = [tmp_path / f"{number}.lmdb" for number in (1, 2)]
    for severity, copy in enumerate(copies, 1):
        more = ("--suite", f"social-repost:{severity}", "--workers", 1, "--out", copy)
        assert run("degrade", small, *more).exit_code == 0
    assert run("mix", small, *copies, "--out", tmp_path / "m.lmdb").exit_code == 0
    keys = Counter(row["key"].partition("@")[2] for row in rows(tmp_path / "m.lmdb/manifest.jsonl"))
    assert keys["social-repost:1"] == keys["social-repost:2"] > 0
    assert set(keys) == {"", "social-repost:1", "social-repost:2"}


def test_the_output_is_named_after_the_severity(
    native: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.toml").write_text(SUITE, "utf-8")
    (tmp_path / "data.lmdb").symlink_to(native)
    monkeypatch.chdir(tmp_path)
    result = run("degrade", "--suite", "own.toml:2", "--limit", "3", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert (native.parent / f"{native.stem}-own2.lmdb").is_dir()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--suite deeperforensics", 2, "--suite must be NAME:SEVERITY, such as deeperforensics:3, "
         "got deeperforensics."),
        ("--suite deeperforensics:x", 2, "the severity of a suite must be a whole number, as in "
         "deeperforensics:3, got deeperforensics:x."),
        ("--suite deeperforensics:6", 2, "suite deeperforensics has severities 1 to 5, got 6."),
        ("--suite deeper:3", 1, "No suite named 'deeper'. Known: "),
        ("--suite deeperforensic:3", 1, "No suite named 'deeperforensic'. Did you mean 'deeper"),
        ("--suite none.toml:1", 1, "none.toml: cannot be read: "),
        ("--suite gend:1 --op me3", 2, "--op and --suite exclude each other."),
        ("", 2, "Name at least one operation in --op, such as jp-mix, or a --suite."),
        ("--suite dfdc-preview:1", 2, "fps:15: for whole videos only, and these are images."),
        ("--list --suite gend", 2, "--list excludes --suite."),
    ],
)  # fmt: skip
def test_wrong_severity_is_told_in_a_line(
    native: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str
) -> None:
    monkeypatch.chdir(native.parent)
    before = sorted(native.parent.iterdir())
    source = [] if "--preview" in arguments or "--list" in arguments else [native.name]
    result = run("degrade", *source, *arguments.split())
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert sorted(native.parent.iterdir()) == before


def test_preview_of_a_suite_for_videos_is_refused(tmp_path: Path, run: Run) -> None:
    picture = write_image(tmp_path / "a.png")
    result = run("degrade", "--preview", picture, "--suite", "dfdc-preview")
    assert result.exit_code == 2
    assert "suite dfdc-preview: frame rate: fps:15: for whole videos only" in result.stderr


def test_preview_of_an_unknown_suite_is_refused(tmp_path: Path, run: Run) -> None:
    picture = write_image(tmp_path / "a.png")
    result = run("degrade", "--preview", picture, "--suite", "gent", "--out", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "No suite named 'gent'. Did you mean 'gend'?" in result.stderr
    assert not (tmp_path / "x.png").exists()


def test_preview_draws_every_severity_of_a_suite(tmp_path: Path, run: Run) -> None:
    picture, sheet = write_image(tmp_path / "a.png", 20, size=(200, 180)), tmp_path / "sheet.png"
    result = run("degrade", "--preview", picture, "--suite", "deeperforensics", "--out", sheet)
    assert result.output == f"35 results in {sheet}\n"
    with Image.open(sheet) as drawn, Image.open(picture) as image:
        tiles, pixels = np.asarray(drawn), np.asarray(image)
    one = run("degrade", "--preview", picture, "--suite", "deeperforensics:3", "--out", sheet)
    assert one.output == f"7 results in {sheet}\n"
    for name in ("blur-k:21", "pixel:6", "noise-ycbcr:0.05"):
        made = chain(name)(pixels, seed=0, key="").image
        height, width = made.shape[:2]
        top, left = max(0, (height - 168) // 2), max(0, (width - 168) // 2)
        tile = made[top : top + 168, left : left + 168]
        corners = np.argwhere((tiles == tile[0, 0]).all(axis=2))
        found = [tiles[y : y + tile.shape[0], x : x + tile.shape[1]] for y, x in corners]
        assert any(np.array_equal(place, tile) for place in found)


@pytest.mark.parametrize(("width", "height"), [(100, 90), (180, 160), (160, 180)])
def test_preview_shows_the_middle_of_an_image_or_all_of_a_small_one(
    tmp_path: Path, width: int, height: int
) -> None:
    picture, sheet = write_image(tmp_path / "a.png", 20, size=(width, height)), tmp_path / "b.png"
    own = tmp_path / "own.toml"
    own.write_text(SUITE.partition("[chains]")[0] + '[chains]\nstill = ["me:1", "gc:1"]\n', "utf-8")
    assert preview(picture, sheet, None, str(own)) == 2
    with Image.open(sheet) as drawn, Image.open(picture) as image:
        tiles, pixels = np.asarray(drawn), np.asarray(image)
    top, left = max(0, (height - 168) // 2), max(0, (width - 168) // 2)
    shown = pixels[top : top + 168, left : left + 168]
    places = np.lib.stride_tricks.sliding_window_view(tiles, shown.shape)[:, :, 0]
    corners = np.argwhere((places[:, :, 0, 0] == shown[0, 0]).all(axis=2))
    assert sum(np.array_equal(places[y, x], shown) for y, x in corners) == 3  # with the image


def test_docs_list_every_suite() -> None:
    docs = (Path(__file__).parent.parent.parent / "docs/operations.md").read_text("utf-8")
    rows = dict(
        re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]*) \| [^|]* \| \d+ \|$", docs, re.MULTILINE)
    )
    assert rows == {name: read_suite(name).title for name in shipped_names("suites")}
