"""The rules of the house that no linter knows."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from makers.modules import called

import hffkit
from hffkit.cli.main import main
from hffkit.degrade.own import operations_table, read_chain, read_own

ROOT = Path(__file__).parent.parent
PACKAGE = Path(hffkit.__file__).parent  # of the source tree, or installed
MODULES = sorted(PACKAGE.rglob("*.py"))


def lines_of(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """The modules of the package, parsed."""
    return {path: ast.parse(path.read_text("utf-8")) for path in MODULES}


def commands(group: click.Group, prefix: str = "hffkit") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def test_modules_are_short_and_named_after_their_noun() -> None:
    long = [f"{path}: {n} lines" for path in MODULES if (n := len(lines_of(path))) > 400]
    assert not long
    vague = {"utils", "util", "helpers", "common", "base", "core", "misc"}
    assert not [path for path in MODULES if path.stem in vague]


def test_no_room_holds_an_eighth_of_the_package() -> None:
    rooms = Counter({path.parent.name: 0 for path in MODULES})
    for path in MODULES:
        rooms[path.parent.name] += len(lines_of(path))
    room, n = rooms.most_common(1)[0]
    assert n <= 0.12 * rooms.total(), f"{room} has {n} of {rooms.total()} lines"


def test_the_architecture_lists_the_rooms_that_there_are() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    order = page.partition("```\n")[2].partition("```")[0]
    listed = [
        word for line in order.splitlines() for word in re.split(r"  +", line)[0].split(" | ")
    ]
    described = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    data = {"manifests", "recipes"}  # packages of data, beside the rooms once installed
    rooms = {path.parent.name for path in MODULES} - {"hffkit"} - data
    modules = "errors, arrays, json_types, fields, input_files, options, recipe_files, wording"
    assert sorted(set(listed) - {modules}) == sorted(rooms)
    assert sorted(described) == sorted(rooms)


def test_names_of_classes_and_types_mean_one_thing(trees: dict[Path, ast.Module]) -> None:
    places: dict[str, list[str]] = {}
    for path, tree in trees.items():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            names = [name for name in names if re.match("[A-Z].*[a-z]", name)]
            for name in [node.name] if isinstance(node, ast.ClassDef) else names:
                places.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_dicts_of_anything_are_for_json_alone() -> None:
    n = sum("dict[str, Any]" in line for path in MODULES for line in lines_of(path))
    assert n <= 30


def test_errors_name_parameters_and_the_command_line_options(
    trees: dict[Path, ast.Module],
) -> None:
    option = re.compile(r"(?<![\w-])--[a-z]")
    commands_to_type = re.compile(r"`[^`]*(hffkit|dask|pip) [^`]*`")
    found = []
    for path in (path for path in MODULES if path.parent.name != "cli"):
        for node in ast.walk(trees[path]):
            if isinstance(node, ast.Raise):
                parts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
                text = "".join(part for part in parts if isinstance(part, str))
                if option.search(commands_to_type.sub("", text)):
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {text}")
    assert not found, "\n".join(found)


def test_files_of_others_are_parsed_in_one_place(trees: dict[Path, ast.Module]) -> None:
    """`input_files` bounds what these would take: any size, depth, number, or code."""
    parsers = {
        "json.load": set(),
        "json.loads": {"retry", "staging", "ffpp", "explain", "corpora"},
        "tomllib.load": set(),
        "tomllib.loads": {"input_files"},
        "yaml.safe_load": {"study_config"},
        "np.load": set(),
        "torch.load": {"state_dict"},
        "pickle.load": set(),
        "pickle.loads": set(),
        "csv.reader": {"columns"},
    }  # fmt: skip
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and path.stem not in parsers.get(
                name := called(node), {path.stem}
            ):
                raise AssertionError(f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}")


def test_packages_export_nothing(trees: dict[Path, ast.Module]) -> None:
    for path in (path for path in MODULES if path.name == "__init__.py"):
        assert len(trees[path].body) == 1, path
        assert ast.get_docstring(trees[path]), path


def test_no_test_file_imports_another() -> None:
    imported = re.compile(r"^\s*(?:from|import)\s+(?:[\w.]+\s*,\s*)*test_", re.MULTILINE)
    assert imported.search("import os, test_other")
    assert imported.search("def f():\n    from test_other import x")
    paths = sorted((ROOT / "tests").rglob("*.py"))
    found = [path for path in paths if imported.search(path.read_text("utf-8"))]
    assert not found, "What several test files need belongs in tests/makers or conftest.py"


def test_every_command_and_option_has_help() -> None:
    without = [name for name, command in commands(main) if not command.help]
    without += [name for name, command in commands(main) if "hffkit " not in (command.epilog or "")]
    without += [
        f"{name} {parameter.opts}"
        for name, command in commands(main)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert not without


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for name, command in commands(main):
        source = name.removeprefix("hffkit build ")
        shown = f"`{source}`" if source != name else name
        assert shown in readme or isinstance(command, click.Group), name


def test_the_readme_names_no_option_that_does_not_exist() -> None:
    params = [param for _, command in commands(main) for param in command.params]
    known = {option for p in params for option in (*p.opts, *p.secondary_opts)}
    text = " ".join(
        (ROOT / path).read_text("utf-8")
        for path in ("README.md", "docs/sources.md", "docs/operations.md")
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    foreign = {"--resize_width", "--resize_height", "--no-deps", "--help", "--no-data"}
    assert named - known - foreign == set()


def test_the_tables_of_operations_in_the_docs_are_those_of_the_program() -> None:
    def documented(path: str) -> list[str]:
        text = (ROOT / path).read_text("utf-8").partition("<!-- operations -->")[2]
        return text.partition("<!--")[0].strip().splitlines()

    every = operations_table().to_markdown().splitlines()
    assert documented("docs/operations.md") == every
    assert documented("README.md") == [row for row in every if "(not in Table IX)" not in row]


def test_the_documented_operation_of_ones_own_works(tmp_path: Path) -> None:
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    path = tmp_path / "vignette.py"
    path.write_text(example, "utf-8")
    image = np.full((9, 11, 3), 200, np.uint8)
    done = read_chain(["vig:0.5"], read_own(path))(image, seed=0, key="a")
    y, x = np.linspace(-1, 1, 9)[:, None] ** 2, np.linspace(-1, 1, 11) ** 2
    expected = np.rint(200 * (1 - 0.5 * (y + x) / 2))
    assert np.array_equal(done.image, np.repeat(expected[..., None], 3, 2).astype(np.uint8))
    assert done.operations == ({"op": "vig:0.5", "strength": 0.5, "in_table_ix": False},)


def test_a_stem_in_three_rooms_means_one_thing() -> None:
    alike = {
        "table": "the literal table of a room",
        "options": "declared options of commands",
        "request": "requests, which are checked before slow imports",
        "train": "the verb",
        "spectrum": "runs of spectra",
    }
    rooms: dict[str, list[str]] = {}
    for path in MODULES:
        rooms.setdefault(path.stem, []).append(path.parent.name)
    found = {stem: where for stem, where in rooms.items() if len(where) > 2}
    assert set(found) - {"__init__", *alike} == set()
