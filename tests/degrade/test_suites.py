"""Suites: their files, their values, and what is refused."""

import csv
import pickle
from pathlib import Path

import pytest

from hffkit.degrade.chain import chain, split_chain
from hffkit.degrade.suites import read_suite, suite_names
from hffkit.errors import ArgumentError, HffkitError, RecipeError, UnknownNameError

SUITE = """
title = "Two"
source = "nowhere"
ours = "all of it"
[chains]
jpeg = ["jp:90", "jp:50"]
"both of them" = ["gb:3+jp:90", "gb:5+jp-mix", "sc:-50"]
"""


@pytest.mark.parametrize("name", suite_names())
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
        ("[chains]", "[chains", "cannot be read: "),
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
