"""Nothing that comes with data, weights, corpora or recipes is executed."""

import ast
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run as Invoke
from makers.hostile import Code, bomb, pickled_code, write_objects
from makers.modules import called
from makers.runs import write_run
from makers.trees import build_two_classes

import hffkit
from hffkit.manifest.classes import BINARY
from hffkit.spectrum.request import SpectrumRequest
from hffkit.spectrum.train import train_spectrum

ROOT = Path(hffkit.__file__).parent
# Calls that execute what they are given, with the argument that makes them safe, if there is one.
CALLS = {
    ".eval": None, ".exec": None, ".compile": None, ".__import__": None, "import_module": None,
    "run_path": None, "run_module": None, "exec_module": None, "system": None, "popen": None,
    "Unpickler": None, "from_string": None, "unsafe_load": None,
    "full_load": None, "load_model": None,
    "torch.load": ("weights_only", True), "np.load": ("allow_pickle", False),
    "np.save": ("allow_pickle", False), "Environment": ("autoescape", True),
}  # fmt: skip
LOADERS = {"pickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jit", "hub"}
# What remains: the file of --operations, and a literal table of the names of libraries.
ALLOWED = {
    "degrade/own.py: exec",
    "degrade/own.py: compile",
    "execution/versions.py: import_module",
}


def dangers_of(tree: ast.AST) -> Iterator[str]:
    """Yield the calls of a module that may execute data, and imports of what starts programs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _dangers_of_call(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [each.name for each in node.names]
            if "subprocess" in (*names, getattr(node, "module", None)):
                yield "subprocess"


def _dangers_of_call(node: ast.Call) -> Iterator[str]:
    path = called(node).split(".")
    last, owner = path[-1], path[-2] if len(path) > 1 else ""
    if (owner in LOADERS and last in ("load", "loads")) or (owner, last) == ("yaml", "load"):
        yield ".".join(path)
    if last == "import_module" and node.args and isinstance(node.args[0], ast.Constant):
        return
    given = {key.arg: getattr(key.value, "value", ...) for key in node.keywords}
    for name in (last, f"{owner}.{last}"):
        wanted = CALLS.get(name, ())
        if wanted is None or (wanted and given.get(wanted[0]) is not wanted[1]):
            yield name.removeprefix(".")


def test_no_module_calls_what_executes_data() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for name in dangers_of(ast.parse(path.read_text("utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    ["eval(x)", "pickle.loads(x)", "torch.load(x)", "torch.load(x, weights_only=False)",
     "np.load(x, allow_pickle=True)", "np.load(x)", "os.system(x)", "yaml.load(x)",
     "joblib.load(x)", "Environment(loader=x)", "from subprocess import run", "import_module(x)"],
)  # fmt: skip
def test_the_rule_knows_dangers(line: str) -> None:
    assert list(dangers_of(ast.parse(line)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a corpus, a run of a network and one of spectra."""
    root = tmp_path_factory.mktemp("home")
    build_two_classes(root, 24)
    write_run(root / "run", BINARY)
    data = (str(root / "x.lmdb"),)
    train_spectrum(SpectrumRequest(data=data, classifier="logistic"), root / "spec", n_workers=1)
    return root


@pytest.mark.parametrize("n", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_no_pickle_is_executed_whatever_its_bytes(n: int, tmp_path: Path) -> None:
    assert pickled_code(tmp_path, n, 0) == {"refused with the file's name": n}


def pytorch(here: Path, made: Path) -> str:
    torch.save({"fc.weight": Code(made)}, here / "w.pth")
    return "convert w.pth --network meso4 --outputs fake,real --out new"


def start(here: Path, made: Path) -> str:
    (here / "w.pth").write_bytes(bomb(made))
    return "train --data x.lmdb --network meso4 --set size=32 --init w.pth --out new"


def tar(here: Path, made: Path) -> str:
    for name in ("head", "tail"):
        (here / f"{name}.tar").write_bytes(bomb(made))
    return "convert head.tar tail.tar --out new"


def other_program(suffix: str) -> Callable[[Path, Path], str]:
    def write(here: Path, made: Path) -> str:
        (here / f"w{suffix}").write_bytes(bomb(made))
        return f"convert w{suffix} --network meso4 --outputs fake,real --out new"

    return write


def weights(here: Path, made: Path) -> str:
    (here / "run/weights.safetensors").write_bytes(bomb(made))
    return "eval run --data x.lmdb"


def samples(here: Path, made: Path) -> str:
    write_objects(here / "run/training-samples.npy", made)
    return "eval run --data x.lmdb"


def model(here: Path, made: Path) -> str:
    (here / "spec/model.skops").write_bytes(bomb(made))
    return "eval spec --data x.lmdb"


def unknown_type(here: Path, _: Path) -> str:
    from sklearn.preprocessing import FunctionTransformer
    from skops.io import dump

    dump(FunctionTransformer(os.mkdir), here / "spec/model.skops")
    return "predict spec in --whole"


def yaml_tag(here: Path, made: Path) -> str:
    pytest.importorskip("yaml")
    (here / "r.yaml").write_text(f"network: !!python/object/apply:os.mkdir ['{made}']\n", "utf-8")
    return "train --data x.lmdb --recipe r.yaml --out new"


def recipe(here: Path, made: Path) -> str:
    (here / "own.py").write_text(f"import os\nos.mkdir({str(made)!r})\n", "utf-8")
    (here / "r.toml").write_text(
        'title = "t"\n[data]\nfaces = {about = "a corpus"}\n[steps.own]\ndo = "degrade"\n'
        'src = "faces"\nop = "jp:60"\noperations = "own.py"\n',
        "utf-8",
    )
    return "run r.toml --data faces=x.lmdb --dry-run"


def strings(here: Path, made: Path) -> str:
    words = [f"$(mkdir {made})", f"`mkdir {made}`", f"__import__('os').mkdir({str(made)!r})"]
    ops = ", ".join(f'"{word}"' for word in words)
    (here / "r.toml").write_text(
        f'title = "{{{{ 7 * 7 }}}}"\n[data]\nfaces = {{about = "{words[0]}"}}\n[steps.own]\n'
        f'do = "degrade"\nsrc = "faces"\nop = [{ops}]\n',
        "utf-8",
    )
    return "run r.toml --data faces=x.lmdb"


ATTACKS = {
    "pytorch": (pytorch, "w.pth: holds posix.mkdir, which would be executed"),
    "start": (start, "w.pth: "),
    "tar": (tar, ".tar"),
    "caffemodel": (other_program(".caffemodel"), "w.caffemodel"),
    "h5": (other_program(".h5"), "w.h5"),
    "safetensors": (other_program(".safetensors"), "w.safetensors: damaged, or no safetensors"),
    "weights of a run": (weights, "weights.safetensors: damaged, or no safetensors"),
    "training samples": (samples, "training-samples.npy: cannot be read"),
    "model": (model, "model.skops"),
    "type": (unknown_type, "model.skops contains"),
    "yaml": (yaml_tag, "r.yaml: cannot be read: could not determine a constructor"),
    "operations": (recipe, "r.toml: a step executes the Python file own.py."),
    "strings": (strings, "No operation named"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_by_name_and_executes_nothing(
    name: str, home: Path, tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, message = ATTACKS[name]
    here, made = shutil.copytree(home, tmp_path / "home"), tmp_path / "executed"
    monkeypatch.chdir(here)
    done = run(*attack(here, made).split())
    assert done.exit_code in (1, 2), done.output
    assert message in " ".join(done.output.split())
    assert not made.exists()
    assert not (here / "new").exists()


def test_the_bombs_would_work(tmp_path: Path) -> None:
    pickle.loads(bomb(tmp_path / "a"))
    write_objects(tmp_path / "x.npy", tmp_path / "b")
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert {"a", "b"} <= {path.name for path in tmp_path.iterdir()}


def test_kept_profiles_with_objects_are_made_anew(
    home: Path, tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, made = shutil.copytree(home, tmp_path / "home"), tmp_path / "executed"
    kept = [path for path in here.rglob("*.npz") if "spectrum" in str(path)]
    assert kept
    for path in kept:
        np.savez(path, profiles=np.array([Code(made)], object))
    monkeypatch.chdir(here)
    done = run("spectrum", "train", "--data", "x.lmdb", "--out", "new", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert not made.exists()


def test_a_recipe_with_operations_runs_if_the_file_is_named(
    home: Path, tmp_path: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, made = shutil.copytree(home, tmp_path / "home"), tmp_path / "executed"
    monkeypatch.chdir(here)
    words = recipe(here, made).split()
    code = (
        "from hffkit.degrade.table import OPERATIONS as KNOWN\nfrom dataclasses import replace\n"
        "OPERATIONS = {'mine': replace(KNOWN['jp'], code='mine')}\n"
    )
    (here / "own.py").write_text(code, "utf-8")
    assert run(*words).exit_code == 2
    done = run(*words, "--operations", here / "own.py")
    assert done.exit_code == 0, done.output
