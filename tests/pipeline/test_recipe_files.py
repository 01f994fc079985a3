"""The grammar of recipe files: what they mean, and that whatever makes no sense is refused."""

import dataclasses
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.recipes import GOOD, NAMES, changed, write
from makers.trees import build_two_classes

from hffkit.cli.main import main
from hffkit.errors import HffkitError, RecipeError, UnknownNameError
from hffkit.pipeline.arguments import typed
from hffkit.pipeline.plan import Plan, plan_of
from hffkit.pipeline.recipe import Recipe, read_recipe, recipe_of
from hffkit.pipeline.verbs import VERBS
from hffkit.training.recipe import KEYS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_two_classes(tmp_path_factory.mktemp("faces"), 4, split="train")


def planned(rows: Mapping[str, Any], corpus: Path) -> Plan:
    """Return the plan of a recipe: by then all that can be refused was."""
    return plan_of(recipe_of(rows, "here/odd-table.toml"), {"faces": corpus}, Path("nowhere"))


def names(recipe: Recipe) -> list[str]:
    return [step.name for step in recipe.steps]


# --- what a file means -----------------------------------------------------------------------


def test_options_of_train_that_override_its_recipe_are_arguments(corpus: Path) -> None:
    rows = changed("steps.net.max_iterations", 7)
    rows["steps"][NAMES["net"]] |= {"lr": 0.5, "degrade": ["jp-mix"]}
    step = next(step for step in recipe_of(rows, "x").steps if step.verb == "train")
    expected = {"size": 32, "max_iterations": 7, "base_lr": 0.5, "degrade": ["jp-mix"]}
    assert step.arguments["set"] == expected
    request = next(p for p in planned(rows, corpus).steps if p.step.verb == "train").bound()[0]
    assert dict(request.overrides) == expected
    rows["steps"][NAMES["net"]]["set"]["max_iterations"] = 8
    with pytest.raises(RecipeError, match="max_iterations is given twice, in `set` and beside it"):
        recipe_of(rows, "x")


def test_a_step_is_made_for_each_value_and_stands_behind_what_it_needs() -> None:
    found = recipe_of(tomllib.loads(GOOD), "x.toml")
    evals = list(itertools.product(("Raw", "JP60"), ("Raw", "JP60"), (0, 1)))
    assert sorted(names(found)) == sorted(
        ["Raw", "JP60"]
        + [f"net {name}, {seed}" for name in ("Raw", "JP60") for seed in (0, 1)]
        + [f"{one} on {other}, {seed}" for one, other, seed in evals]
    )
    # Otherwise the order is that of the file, in which the evals come first, the last x quickest.
    assert [step.name for step in found.steps if step.verb == "eval"] == [
        f"{one} on {other}, {seed}" for one, other, seed in evals
    ]
    for step in found.steps:
        before = names(found)[: names(found).index(step.name)]
        assert all(needed == "faces" or needed in before for needed in step.needs)


def test_a_place_is_the_value_itself_or_text_within_text() -> None:
    steps = {
        "raw": {"do": "pack", "src": "faces"},
        "jp:{quality} {rate} {name} {flag}": {
            "do": "train",
            "data": ["raw"],
            "recipe": "{name}",
            "seed": "{quality}",
            "set": {"base_lr": "{rate}", "degrade": ["jp:{quality}", "{name}{name}"]},
            "task": "{2} {name!r} { name }",  # none of these is a place
        },
    }
    values = {"quality": [60, 7], "rate": [0.5], "name": ["small"], "flag": [True]}
    rows = {"title": "t", "data": {"faces": {"about": "f"}}, "values": values, "steps": steps}
    step = recipe_of(rows, "x.toml").step("jp:60 0.5 small True")
    assert step.arguments == {
        "data": ["raw"],
        "recipe": "small",
        "seed": 60,
        "set": {"base_lr": 0.5, "degrade": ["jp:60", "smallsmall"]},
        "task": "{2} {name!r} { name }",
    }
    assert type(step.arguments["seed"]) is int


@given(st.data())
def test_any_order_of_the_file_gives_an_order_in_which_the_steps_can_be_done(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(2, 12))
    needs = [
        data.draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        for i in range(n)
    ]
    bodies = {
        f"s{i}": {"do": "mix", "src": [f"s{j}" for j in needs[i]] or ["faces"]} for i in range(n)
    }
    order = data.draw(st.permutations(list(bodies)))
    rows = {
        "title": "t",
        "data": {"faces": {"about": "f"}},
        "steps": {name: bodies[name] for name in order},
    }
    done: set[str] = {"faces"}
    for step in recipe_of(rows, "x.toml").steps:
        assert set(step.needs) <= done
        done.add(step.name)
    assert done == {"faces", *bodies}


def test_a_long_chain_may_be_written_from_its_end() -> None:
    n = 2000
    bodies = {
        f"s{i}": {"do": "mix", "src": [f"s{i - 1}" if i else "faces"]} for i in reversed(range(n))
    }
    rows = {"title": "t", "data": {"faces": {"about": "f"}}, "steps": bodies}
    assert names(recipe_of(rows, "x.toml")) == [f"s{i}" for i in range(n)]


def test_data_that_no_step_reads_need_not_be_given(corpus: Path) -> None:
    rows = changed("data.others", {"about": "what a recipe that this extends had"})
    assert list(recipe_of(rows, "x.toml").data) == ["faces"]
    assert len(planned(rows, corpus).steps) == 14


def test_the_example_of_the_documentation_is_a_recipe(tmp_path: Path) -> None:
    text = (ROOT / "docs/recipes.md").read_text("utf-8")
    (tmp_path / "x.toml").write_text(text.partition("```toml\n")[2].partition("```")[0], "utf-8")
    assert len(read_recipe(str(tmp_path / "x.toml")).steps) == 2 + 2 * 3 + 2 * 2 * 3


def test_a_recipe_that_extends_says_only_what_is_different(tmp_path: Path) -> None:
    write(tmp_path / "first.toml", GOOD + '\n[steps.more]\ndo = "pack"\nsrc = "faces"\n')
    (tmp_path / "deep").mkdir()
    write(
        tmp_path / "deep/second.toml",
        'extends = "../first.toml"\n[values]\nseed = [7]\n[steps.JP60]\nop = ["ME5", "JP60"]\n',
    )
    last = write(
        tmp_path / "last.toml",
        f'extends = "{tmp_path}/deep/second.toml"\ntitle = "Other"\n[steps.JP60]\nsize = 48\n'
        "[table.averages.columns]\nSame = ['Raw']\n",
    )
    found = read_recipe(last)
    wanted = changed("values.seed", [7])
    wanted = changed("title", "Other", wanted)
    wanted = changed("steps.JP60.op", ["ME5", "JP60"], wanted)
    wanted = changed("steps.JP60.size", 48, wanted)
    wanted = changed("steps.more", {"do": "pack", "src": "faces"}, wanted)
    wanted = changed("table.averages.columns.Same", ["Raw"], wanted)
    assert dataclasses.replace(found, name="") == dataclasses.replace(
        recipe_of(wanted, last), name=""
    )
    assert found.name == "last"


@pytest.mark.parametrize("text", ["x.toml", "./x.toml", "y.toml"])
def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "x.toml", f'extends = "{text}"\n')
    write(tmp_path / "y.toml", 'extends = "x.toml"\n')
    with pytest.raises(RecipeError, match=r"\.toml: extends itself"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('extends = "absent.toml"', "absent.toml: cannot be read: "),
        ("extends = 3", "x.toml: extends must name .*, got 3"),
        ('title = "a"\nsteps = ]', "x.toml: no TOML: .*line 2"),
        ("", "x.toml: no .steps.NAME.. A recipe needs at least one step."),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "x.toml", text)
    with pytest.raises(RecipeError, match=f"^{re.escape(str(tmp_path))}/{told}"):
        read_recipe(path)


def test_names_that_lead_to_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"title = '\xff'")
    for path in (tmp_path / "x.toml", tmp_path / "absent.toml"):
        with pytest.raises(RecipeError, match=f"{path.name}: (cannot be read|must be UTF-8)"):
            read_recipe(str(path))
    with pytest.raises(UnknownNameError, match=r"No recipe named 'tabel-x'. Did you mean 'table-x"):
        read_recipe("tabel-x")


# --- what is refused, by the file and the key ------------------------------------------------

FIRST_LOOK: Sequence[tuple[str, Any, str]] = [
    ("ttitle", "x", "No key named 'ttitle'. Did you mean 'title'?"),
    ("title", None, "title is missing"),
    ("title", 3, "title is missing"),
    ("steps", None, "no [steps.NAME]"),
    ("steps", ["x"], "steps must be a table"),
    ("steps.JP60.do", None, "steps.JP60: do is missing: one of build, pack, "),
    ("steps.JP60.do", "degrad", "steps.JP60: No verb named 'degrad'. Did you mean 'degrade'?"),
    (
        "steps.JP60.src",
        "face",
        "steps.JP60.src: No step or data named 'face'. Did you mean 'faces'?",
    ),
    ("steps.JP60.src", ["Raw", 5], "steps.JP60.src must name steps or data, got 5."),
    ("steps.net.data", "{sets}", "steps.net {set}, {seed}: {sets} is not in the step's name."),
    ("steps.Raw.size", "{seed}", "steps.Raw: {seed} is not in the step's name."),
    ("steps.a {sed}", {"do": "pack"}, "No value named 'sed'. Did you mean 'seed'?"),
    ("steps.net {test}, {seed}", {"do": "pack"}, "the name 'net Raw, 0' is used twice."),
    ("data.Raw", {"about": "x"}, "the name 'Raw' is used twice."),
    (
        "steps.Raw.src",
        "JP60 on Raw, 0",
        "steps.Raw.src must be a corpus, and 'JP60 on Raw, 0' makes",
    ),
    ("steps.net.init", "net {set}, {seed}", "steps need each other: "),
    ("data.faces", {}, "data.faces: about is missing"),
    ("data.faces.path", "x", "data.faces: No key named 'path'"),
    ("data", 3, "data must be a table"),
    ("values.seed", 0, "values.seed must be a list of different texts or numbers, got 0."),
    ("values.seed", [], "values.seed must be a list of different"),
    ("values.seed", [1, "1"], "values.seed must be a list of different"),
    ("values.seed", [[1]], "values.seed must be a list of different"),
    ("paper", "tabel-x", "paper: there is no manifests/paper/tabel-x.csv."),
    ("table", 3, "table must be a table."),
    ("table.row", "set", "table: No key named 'row'. Did you mean 'rows'?"),
    ("table.cell", None, "table: cell is missing"),
    ("table.rows", None, "table: rows is missing"),
    ("table.columns", None, "table: columns is missing"),
    ("table.rows", "sets", "table: cell must hold {sets}."),
    ("table.cell", "{sets} on {test}", "table: No value named 'sets'. Did you mean 'set'?"),
    ("table.cell", "{set} in {test}, {seed}", "table: No step named 'Raw in Raw, 0'. Did you "),
    ("table.kind", "ablations", "table: No kind named 'ablations'. Did you mean 'ablation'?"),
    ("table.kind", "ablation", "table: reference is missing"),
    ("table.averages.column", {"A": ["Raw"]}, "table: averages must be lists of rows or columns"),
    ("table.averages.columns", {"A": []}, "table: averages must be lists of rows or columns"),
    ("table.averages.columns", {"A": ["JP6"]}, "named 'JP6'. Did you mean 'JP60'?"),
    ("table.averages.columns", {"Raw": ["JP60"]}, "table: "),  # there is a column of that name
    ("table.columns", "set", "table: "),  # which the rows are already
    ("table", None, "claims need a table of kind accuracy, robustness or guarantee."),
    ("claims", [3], "claims must be tables."),
    ("claims", [{"txt": "x"}], "claims: No key named 'txt'. Did you mean 'text'?"),
    ("claims", [{"text": "x"}], "claims: better must be a list of [row, column]"),
    (
        "claims",
        [{"text": "x", "better": [["Raw", "Raw"]], "worse": []}],
        "claims: better and worse must be lists of equally many cells",
    ),
    (
        "claims",
        [{"text": "x", "better": [["Raw", "Rw"]], "worse": [["Raw", "Raw"]]}],
        "claims: No row or column named 'Rw'. Did you mean 'Raw'?",
    ),
]


@pytest.mark.parametrize(("place", "value", "told"), FIRST_LOOK, ids=[c[0] for c in FIRST_LOOK])
def test_what_makes_no_sense_is_refused_with_the_file_and_the_key(
    place: str, value: Any, told: str
) -> None:
    rows = changed(place, value)
    if place == "steps":
        del rows["table"], rows["claims"]
    with pytest.raises(RecipeError) as error:
        recipe_of(rows, "here/odd-table.toml")
    assert str(error.value).startswith("here/odd-table.toml: ")
    assert told in str(error.value)


@pytest.mark.parametrize(("videos", "told"), [
    ({"v": {"column": "Raw", "level": "vote"}}, "videos.v: No level named 'vote'"),
    ({"v": {"column": "JP6", "level": "video_vote"}}, "Did you mean 'JP60'?"),
    ({"v": {"column": "Raw"}}, "videos.v: level is missing"),
    ({"v": {"columns": "Raw"}}, "videos.v: No key named 'columns'"),
    ({"Raw": {"column": "Raw", "level": "video_mean"}}, "'Raw' names both"),
    ({"v": "Raw"}, "videos.v must be a table"),
    (["Raw"], "videos must be a table"),
])  # fmt: skip
def test_columns_by_video_that_make_no_sense_are_refused(videos: Any, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe_of(changed("table.videos", videos), "x.toml")
    assert told in str(error.value)


def test_a_table_of_no_evals_and_an_unknown_reference_are_refused() -> None:
    rows = changed("table.cell", "net {set}, {seed}", changed("table.columns", "seed"))
    with pytest.raises(
        RecipeError,
        match=r"x.toml: table: 'net Raw, 0' is no eval step, nor a spectrum with repeats\.",
    ):
        recipe_of(rows, "x.toml")
    kind = {"kind": "ablation", "rows": "set", "cell": NAMES["eval"], "reference": "JP6"}
    del rows["claims"]
    with pytest.raises(RecipeError, match=r"table: .*named 'JP6'. Did you mean 'JP60'\?"):
        recipe_of(changed("table", kind, rows), "x.toml")


def test_a_circle_names_the_steps_that_wait_for_each_other() -> None:
    rows = changed("steps.Raw.src", ["faces", "JP60"])
    rows["steps"]["JP60"]["src"] = "Raw"
    with pytest.raises(RecipeError, match=r"x.toml: steps need each other: ") as error:
        recipe_of(rows, "x.toml")
    assert set(str(error.value).rpartition(": ")[2].rstrip(".").split(" <- ")) == {"Raw", "JP60"}


SECOND_LOOK: Sequence[tuple[str, Any, str]] = [
    ("steps.Raw.sice", 5, "steps.Raw: No argument named 'sice'. Did you mean 'size'?"),
    ("steps.Raw.src", None, "steps.Raw: src is missing"),
    ("steps.Raw.src", [], "steps.Raw: src is missing"),
    ("steps.Raw.size", "big", "steps.Raw.size must be a whole number, got 'big'."),
    ("steps.Raw.size", 1.5, "steps.Raw.size must be a whole number, got 1.5."),
    ("steps.Raw.size", True, "steps.Raw.size must be a whole number, got true."),
    ("steps.Raw.size", 100_000, "steps.Raw: `size` must be native or 1 to 4096 px, got 100000."),
    ("steps.Raw.shuffle", 1, "steps.Raw.shuffle must be true or false, got 1."),
    ("steps.Raw.labels", "tri", "steps.Raw.labels must be one of multi, binary, got 'tri'."),
    ("steps.JP60.op", None, "steps.JP60: Name at least one operation"),
    ("steps.JP60.op", [], "steps.JP60: Name at least one operation"),
    ("steps.JP60.op", "jp-mixx", "steps.JP60: No operation named 'jp-mixx'. Did you mean 'jp-mix"),
    ("steps.JP60.op", "jp:200", "steps.JP60: 'jp:200': quality must be"),
    ("steps.JP60.limit", 0, "steps.JP60: `limit` must be at least 1, got 0."),
    ("steps.JP60.operations", "absent.py", "steps.JP60: absent.py: cannot be read"),
    ("steps.JP60.split", ["tests"], "steps.JP60.split must be one of train, val, test"),
    ("steps.net.keep", "memory", "No argument named 'keep'"),
    ("steps.net.set", 3, "steps.net Raw, 0.set must be a table of names and values, got 3."),
    ("steps.net.set.sice", 3, "steps.net Raw, 0 ... sice"),
    ("steps.net.set.size", "big", "steps.net Raw, 0 ... size must be a whole number, got 'big'."),
    (
        "steps.net.network",
        "amtenet",
        "steps.net Raw, 0 ... No network named 'amtenet'. Did you mean",
    ),
    (
        "steps.net.recipe",
        "smalll",
        "steps.net Raw, 0 ... No recipe named 'smalll'. Did you mean 'small'",
    ),
    ("steps.net.recipe", "absent.toml", "steps.net Raw, 0 ... absent.toml: cannot be read"),
    ("steps.eval.data", ["Raw", "JP60"], "steps.Raw on Raw, 0: an eval step takes one run and one"),
    ("steps.m", {"do": "subset", "src": "Raw", "share": 0}, "steps.m: `share` must be above 0"),
    ("steps.m", {"do": "subset", "src": "Raw"}, "steps.m: share is missing."),
    ("steps.m", {"do": "mix", "src": "Raw", "proportion": "smalll"}, "No proportion named"),
    ("steps.m", {"do": "build", "src": "faces", "source": "foldr"}, "steps.m ... source ... foldr"),
]


@pytest.mark.parametrize(("place", "value", "told"), SECOND_LOOK, ids=[c[0] for c in SECOND_LOOK])
def test_a_bad_argument_is_refused_before_anything_runs_with_the_file_and_the_key(
    corpus: Path, place: str, value: Any, told: str
) -> None:
    with pytest.raises(HffkitError) as error:
        planned(changed(place, value), corpus)
    assert all(part in str(error.value) for part in told.split(" ... ")), error.value
    assert str(error.value).startswith(("here/odd-table.toml: ", "odd-table: "))


def _places(rows: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in rows.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from _places(value, (*path, key))


def test_no_value_anywhere_ends_in_a_traceback(corpus: Path) -> None:
    odd: list[Any] = [3, 1.5, True, "x", "", [], ["x"], [["x"]], {}, {"x": 1}, [{}], "{set}"]
    crashes = []
    for path in _places(tomllib.loads(GOOD)):
        for value in odd:
            rows = tomllib.loads(GOOD)
            inner = rows
            for part in path[:-1]:
                inner = inner[part]
            inner[path[-1]] = value
            try:
                planned(rows, corpus)
            except HffkitError:
                continue
            except Exception as error:  # noqa: BLE001  (all of them are told below)
                crashes.append((".".join(path), value, repr(error)))
    assert not crashes, "\n".join(map(str, crashes))


# --- the same names and defaults as the command line ------------------------------------------
# Those of build are generated from one declaration, so there is nothing to compare.

# Options of the commands that are not in a recipe: how work is spread, where it goes, what is
# printed; --keep and --tensorboard leave the weights as they are.
RUNNERS: Mapping[str, str] = {
    "pack": "out workers scheduler json",
    "degrade": "out workers scheduler shard max_failures list preview json",
    "equalize": "out workers scheduler max_failures json",
    "mix": "out json",
    "subset": "out json",
    "train": "out device threads keep tensorboard list json",
    "spectrum": "out workers json",
    "decide": "device json",
    "eval": "device html csv json",
    "robustness": "device workers html csv json",
}
# Of train: another way to write a value of `set`, and which.
SHORTHANDS = {
    "max_iterations": "max_iterations", "batch_size": "batch_size", "lr": "base_lr",
    "precision": "precision", "order": "order", "degrade": "degrade",
    "as_published": "metric.as_published",
}  # fmt: skip
NEEDED: Mapping[str, dict[str, Any]] = {
    "degrade": {"op": "jp60"},
    "subset": {"share": 0.5},
    "decide": {"run": "run", "data": "corpus"},
    "eval": {"runs": "run", "data": "corpus"},
    "robustness": {"runs": "run", "data": "corpus"},
    "train": {"data": "corpus"},
    "spectrum": {"data": "corpus"},
}


def parameters_of(verb: str) -> Iterator[tuple[str, str, click.Parameter]]:
    """Yield command, name and parameter of all that a command has."""
    command = main.commands[verb]
    if isinstance(command, click.Group):  # spectrum: its other commands make nothing for a step
        command = command.commands["train"]
    for param in command.params:
        name = param.opts[0].removeprefix("--").replace("-", "_")
        if isinstance(param, click.Argument):
            name = {"decide": "run", "eval": "runs", "robustness": "runs"}.get(verb, "src")
        yield str(command.name), name, param


def deciding(verb: str) -> list[tuple[str, click.Parameter]]:
    """Return name and parameter of what decides a command's result."""
    skipped = {*RUNNERS[verb].split(), *(SHORTHANDS if verb == "train" else ())}
    return [(name, p) for _, name, p in parameters_of(verb) if name not in skipped]


def test_every_verb_is_a_command_and_what_is_left_out_is_an_option_of_it() -> None:
    assert list(VERBS) == ["build", *RUNNERS]
    for verb, names in RUNNERS.items():
        assert {name for _, name, _ in parameters_of(verb)} > set(names.split())
    assert {name for _, name, _ in parameters_of("train")} > set(SHORTHANDS)
    assert set(KEYS) > set(SHORTHANDS.values())


@pytest.mark.parametrize("verb", list(RUNNERS))
def test_a_recipe_has_every_option_that_decides_bytes_and_no_other(verb: str) -> None:
    of_the_command = {name for name, _ in deciding(verb)}
    assert set(VERBS[verb].arguments()) == of_the_command


@pytest.mark.parametrize("verb", list(RUNNERS))
def test_the_default_of_an_argument_is_that_of_the_option(verb: str) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(VERBS[verb].request)}
    n_compared = 0
    for name, param in deciding(verb):
        default = fields.get(VERBS[verb].renamed.get(name, name), dataclasses.MISSING)
        if name in VERBS[verb].inputs or default is dataclasses.MISSING:
            assert name in VERBS[verb].inputs or name in NEEDED[verb], name  # a step must say it
            continue
        given = param.to_info_dict()["default"]
        told = tuple(given or ()) if param.multiple else None if given == "native" else given
        assert (told, type(told)) == (default, type(default)), name
        n_compared += 1
    assert n_compared >= {"equalize": 2, "subset": 1, "mix": 3, "train": 3, "eval": 4}.get(verb, 6)


@pytest.mark.parametrize("verb", list(RUNNERS))
def test_what_an_option_takes_an_argument_takes(verb: str) -> None:
    kinds = VERBS[verb].arguments()
    for name, param in deciding(verb):
        choices = param.type.choices if isinstance(param.type, click.Choice) else ()
        for value in ("native", 64) if param.type.name == "native|PIXELS" else choices:
            typed(value, kinds[name], f"{verb} {name}")


@pytest.mark.parametrize("verb", list(RUNNERS))
def test_a_number_that_an_option_refuses_is_refused_before_anything_runs(
    corpus: Path, verb: str
) -> None:
    needed = dict(NEEDED.get(verb, {}))
    if "src" in VERBS[verb].inputs:
        needed["src"] = [str(corpus)]
    taken = set()
    for name, param in deciding(verb):
        if not isinstance(param.type, click.IntRange):
            continue
        low, high = param.type.min, param.type.max
        for bound in (*([low - 1] if low is not None else []), *([high + 1] if high else [])):
            with suppress(HffkitError):
                VERBS[verb].check(VERBS[verb].bind({**needed, name: bound}, "here")[0])
                taken.add((name, bound))
    assert not taken
    VERBS[verb].check(VERBS[verb].bind(needed, "here")[0])  # the rest of it is sound
