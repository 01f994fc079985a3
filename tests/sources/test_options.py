import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import click
import pytest
from click.testing import CliRunner, Result
from makers.trees import about, build_corpus, write_image

from hffkit.cli import options
from hffkit.corpus.build import recorded
from hffkit.errors import ArgumentError, HffkitError, RecipeError
from hffkit.options import Bounds, Names, Option, Pairs, check, options_of
from hffkit.pipeline.verbs import VERBS
from hffkit.sources.ffpp_tree import FfppOptions
from hffkit.sources.lists import ListOptions
from hffkit.sources.options import SourceOptions, VideoOptions
from hffkit.sources.table import SOURCES, read_source

Run = Callable[..., Result]


@dataclass(frozen=True, kw_only=True)
class _Toy(SourceOptions):
    """One option of each type."""

    needed: Annotated[Path, Option("A file.", name="file")]
    number: Annotated[int, Bounds(2, 5), Option("A number.")] = 3
    side: Annotated[int | None, Bounds(1), Option("A side.", none="native")] = None
    choice: Annotated[Literal["a", "b"] | None, Option("A choice.")] = None
    words: Annotated[Names, Option("Names.", name="word")] = ()
    pairs: Annotated[Pairs, Option("Pairs.", name="pair")] = ()
    is_on: Annotated[bool, Option("A flag.")] = False


def _parsed(*arguments: str) -> Any:
    """Return what the command line makes of arguments, or its message."""

    def run(**values: Any) -> None:
        click.echo(json.dumps(values, default=str))

    command = click.Command("toy", params=options.declared(_Toy), callback=run)
    result = CliRunner().invoke(command, arguments)
    return json.loads(result.output) if result.exit_code == 0 else result.output


def test_a_declared_option_is_an_option_of_the_command_line() -> None:
    plain = _parsed("--file", "x")
    assert [plain[name] for name in ("needed", "number", "side", "choice")] == ["x", 3, None, None]
    assert (plain["words"], plain["pairs"], plain["is_on"], plain["src"]) == ([], [], False, ".")
    words = "--file x --number 5 --side 7 --choice b --word a,b --word c --pair k=v --is-on"
    given = _parsed(*words.split())
    assert (given["number"], given["side"], given["choice"]) == (5, 7, "b")
    assert (given["words"], given["pairs"], given["is_on"]) == (["a", "b", "c"], [["k", "v"]], True)
    assert _parsed("--file", "x", "--side", "native")["side"] is None
    assert "Missing option '--file'" in _parsed()
    assert "6 is not in the range 2<=x<=5" in _parsed("--file", "x", "--number", "6")
    assert "'c' is not one of 'a', 'b'" in _parsed("--file", "x", "--choice", "c")
    assert "must be native or a number" in _parsed("--file", "x", "--side", "big")


def test_a_declared_option_is_an_argument_of_a_step(tmp_path: Path) -> None:
    bind = VERBS["build"].bind
    made, src = bind(
        {"source": "list", "src": str(tmp_path), "list": "l.txt", "size": "native", "real": "1"},
        "steps.a",
    )
    assert src == ()
    assert made == ListOptions("list", tmp_path, list_file=Path("l.txt"), real=("1",))
    whole = {"source": "list", "src": "in", "list": "l.txt"}
    for wrong, message in (
        ({"list": None}, "list is missing"),
        ({"source": None}, "source is missing: one of ff"),
        ({"source": "lists"}, "No source named 'lists'. Did you mean 'list'?"),
        ({"quality": "c40"}, "No argument named 'quality'"),
        ({"list_file": "l.txt"}, "No argument named 'list_file'"),
        ({"upsample": 4}, "`upsample` must be from 0 to 3, got 4"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"split": "dev"}, "split must be one of train, val, test, all, got 'dev'"),
    ):
        values = {name: value for name, value in {**whole, **wrong}.items() if value is not None}
        with pytest.raises(HffkitError, match=message):
            bind(values, "steps.a")
    with pytest.raises(RecipeError, match=r"steps\.a"):
        bind({**whole, "frames": 7}, "steps.a")


def test_values_that_a_declaration_excludes_are_refused_in_library_calls() -> None:
    check(_Toy("toy", needed=Path("x"), side=1))
    for wrong, message in (
        ({"number": 1}, "`number` must be from 2 to 5, got 1"),
        ({"side": 0}, "`side` must be at least 1, got 0"),
        ({"choice": "c"}, "`choice` must be one of a, b, got 'c'"),
        ({"group_by": "("}, r"`group_by` '\(' is no regular expression"),
        ({"split_ratio": "1"}, "must be train/val/test"),
    ):
        arguments: dict[str, Any] = {"needed": Path("x"), **wrong}
        with pytest.raises(ArgumentError, match=message):
            _Toy("toy", **arguments)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": "first"}, "`frames` must be N"),
        ({"frames": "20/75"}, "FAKE must be at most REAL"),
        ({"source": "dfd", "frames": "paper"}, r"only ff\+\+ has them"),
        ({"boxes": Path("b.json"), "crop": "none"}, "`boxes` gives crops of videos"),
        ({"masks": True}, "`masks` goes with `pair`"),
        ({"pair": ("c23",)}, "two qualities, the better one first"),
        ({"pair": ("c40", "c23")}, "two qualities, the better one first"),
        ({"pair": ("raw", "c0")}, "two qualities, the better one first"),
        ({"pair": ("c23", "c40"), "qualities": ("c23",)}, "leave out `qualities`"),
        ({"pair": ("c23", "c40"), "landmarks": Path("x.dat")}, "would differ"),
        ({"qualities": ("c24x",)}, "No quality named 'c24x'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(HffkitError, match=message):
        FfppOptions(**{"source": "ff++", **wrong})


def test_every_field_of_a_source_but_its_name_is_an_option_with_a_default() -> None:
    for source in SOURCES.values():
        declared = {each.field: each for each in options_of(source.options)}
        assert {field.name for field in fields(source.options)} == {"source", *declared}
        required = {name for name, each in declared.items() if each.default is MISSING}
        assert required == ({"list_file"} if source.options is ListOptions else set())


def test_the_reader_of_a_source_takes_its_options() -> None:
    for source in SOURCES.values():
        assert issubclass(source.options, get_type_hints(source.read)["options"])


def test_options_of_another_source_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(HffkitError, match="No source named 'youtube'"):
        read_source(SourceOptions("youtube", tmp_path))
    with pytest.raises(ValueError, match=r"ff\+\+ takes FfppOptions, got VideoOptions"):
        read_source(VideoOptions("ff++", tmp_path))


def test_a_corpus_records_the_options_of_every_source(tmp_path: Path) -> None:
    """Two builds can be merged, and one resumed, if these are the same: the names are a format."""
    write_image(tmp_path / "in/a/1.png")
    out = build_corpus("folder", tmp_path / "in", tmp_path / "x", fake=("a",), size=32)
    assert about(out)["options"] == {
        "boxes": None, "crop": None, "detect_on": None, "fake": ["a"], "ffpp_compat": False,
        "folders": [], "frames": "32", "group_by": None, "keeps_index": False, "landmarks": None,
        "list_file": None, "listing": None, "masks": False, "methods": [], "pair": [],
        "paper_split": False, "qualities": ["c23"], "real": [], "seed": 0, "size": 32,
        "source": "folder", "split": "all", "split_ratio": "75/5/20",
        "src": str(tmp_path / "in"), "strip_prefix": "", "upsample": 1,
    }  # fmt: skip
    paired = FfppOptions("ff++", tmp_path, pair=("c0", "c40"), masks=True, frames="cao")
    assert {**recorded(paired), "pair": (), "masks": False, "frames": "32"} == {
        **recorded(FfppOptions("ff++", tmp_path)), "qualities": ("c0", "c40"),
    }  # fmt: skip
