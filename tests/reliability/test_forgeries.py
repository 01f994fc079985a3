import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from makers.forgeries import forged_corpora, small_corpus
from makers.trees import about, change_manifest, make_older, rows

Run = Callable[..., Result]


def test_alterations_of_a_corpus_are_found_or_change_nothing(tmp_path: Path) -> None:
    assert forged_corpora(tmp_path, 15, seed=0).total() >= 15


@pytest.mark.slow
def test_many_alterations_of_a_corpus_are_found_or_change_nothing(tmp_path: Path) -> None:
    assert forged_corpora(tmp_path, 100, seed=1).total() >= 100


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path / "x.lmdb")


@pytest.mark.parametrize("name", ["split", "group", "frame", "box", "detector", "operations"])
def test_a_field_that_no_record_shows_is_found_by_the_digest_of_the_manifest(
    corpus: Path, run: Run, name: str
) -> None:
    def swap(lines: list[dict[str, Any]]) -> None:
        lines[1] = {**lines[1], "frame": 1, "box": [0, 0, 9], "detector": "x", "operations": []}
        lines[0][name], lines[-1][name] = lines[-1][name], lines[0][name]

    before = (corpus / "corpus.json").read_bytes()
    change_manifest(corpus, swap)
    (corpus / "corpus.json").write_bytes(before)
    result = run("verify", corpus, "--workers", 1)
    assert result.exit_code == 1
    assert f"{corpus}: manifest.jsonl: was altered after the corpus was made: its" in result.output
    for command in ("pack", "merge", "degrade", "subset", "inspect"):
        more = {"degrade": ["--op", "me3"], "subset": ["--share", "0.5"], "inspect": ["--no-sheet"]}
        out = [] if command == "inspect" else ["--out", corpus.with_name("out")]
        result = run(command, corpus, *more.get(command, []), *out)
        assert result.exit_code == 1
        assert f"Error: {corpus}/manifest.jsonl: was altered after" in result.output


@pytest.mark.parametrize("name", ["failures.jsonl", "boxes.json"])
def test_an_altered_list_of_failures_or_boxes_is_found(corpus: Path, run: Run, name: str) -> None:
    text = (corpus / name).read_text("utf-8")
    (corpus / name).write_text(text.replace("3", "4"), "utf-8")
    result = run("verify", corpus, "--workers", 1)
    assert result.exit_code == 1
    assert f"{corpus}: {name}: was altered after the corpus was made: its" in result.output
    assert "1 problem\n" in result.output


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"is_fake": true', '"is_fake": {}'),
        ('"is_fake": true', '"is_fake": false'),
        ('"n_samples": 12', '"n_samples": -5'),
        ('"labels": "multi"', '"labels": "x"'),
        ('"labels": "multi"', '"labels": "binary"'),
        ('"layout": "native"', '"layout": "packed"'),
        ('"no-face": 12', '"no-face": 11'),
        ('"seed": 0', '"seed": 1'),
    ],
)
def test_an_altered_corpus_json_is_found(corpus: Path, run: Run, old: str, new: str) -> None:
    text = (corpus / "corpus.json").read_text("utf-8")
    assert old in text
    (corpus / "corpus.json").write_text(text.replace(old, new, 1), "utf-8")
    for command in (
        ("verify", corpus),
        ("inspect", corpus, "--no-sheet"),
        ("train", "--data", corpus),
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert f"Error: {corpus}/corpus.json: was altered after the corpus" in result.output


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("n_samples", -5, "n_samples must be a whole number"),
        ("n_samples", 13, "n_samples must be the sum of the counts, got 13"),
        ("labels", "x", "labels must be one of multi, binary, got 'x'"),
        ("labels", ["multi"], "labels must be a text"),
        ("layout", "packed", "size must be that of a packed corpus, got null"),
        ("size", 48, "size must be that of a native corpus, got 48"),
        ("shard", [3, 2], "shard must be null, or [I, N] with I below N, got [3, 2]"),
        ("holds", 7, "holds must be a text, got 7"),
        ("options", [], "options must be an object"),
        ("versions", {"opencv": 5}, "versions: opencv must be a text"),
        ("content_sha256", "x", "content_sha256 must be a SHA-256 of 64 hexadecimal digits"),
        ("counts", {"Real": {"dev": 12}}, "counts: Real: unknown dev"),
        ("failures", {"lost": 1}, "failures: unknown lost"),
        ("classes", {}, "classes must be a list"),
        ("classes", [], "classes must be a list of classes"),
        ("classes", [{"id": 0, "name": "a", "is_fake": {}}], "is_fake must be true or false"),
        ("classes", [{"id": 2**31, "name": "a", "is_fake": True}], "id must be a whole number"),
    ],
)
def test_a_corpus_json_without_digests_is_read_with_types_and_ranges(
    corpus: Path, run: Run, name: str, value: Any, what: str
) -> None:

    make_older(corpus)
    (corpus / "corpus.json").write_text(json.dumps({**about(corpus), name: value}), "utf-8")
    result = run("verify", corpus)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {corpus}/corpus.json: ")
    assert what in result.output


def test_verify_says_what_it_cannot_tell_of_an_older_corpus(corpus: Path, run: Run) -> None:
    make_older(corpus)
    result = run("verify", corpus, "--workers", 1)
    assert result.exit_code == 0
    assert f"note: {corpus}: its corpus.json has no digests of the other files" in result.stderr
    assert result.stdout == "all records match the manifest\n"

    failures = rows(corpus / "failures.jsonl")
    assert len(failures) == 12
    lines = (corpus / "failures.jsonl").read_text("utf-8").splitlines(keepends=True)
    (corpus / "failures.jsonl").write_text("".join(lines[1:]), "utf-8")
    result = run("verify", corpus, "--workers", 1)
    assert result.exit_code == 1
    assert (
        'failures.jsonl: holds {"no-face": 11}, where corpus.json counts {"no-fa' in result.stdout
    )
