"""Refusals of mistyped names and paths, which come before imports that take seconds."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import Result
from makers.trees import build_two_classes
from safetensors.numpy import save_file

from hffkit.cli import options
from hffkit.cli.main import main
from hffkit.errors import ArgumentError, RecipeError, StorageError
from hffkit.manifest.classes import BINARY
from hffkit.pipeline.arguments import typed
from hffkit.storage.corpora import check_corpora
from hffkit.storage.outputs import EVAL_PAGE, check_output

Run = Callable[..., Result]

# By command: what its message names. x.lmdb is a corpus, run and fit are runs, fitted one of a
# spectrum, in a folder of images.
REFUSED = {
    "build folder --src= --real a --fake b": "Invalid value for '--src': is empty.",
    "build folder --src in --real a --fake b --group-by x*": "--group-by 'x*' matches an empty",
    r"build folder --src in --real a --fake b --group-by (\d": r"--group-by '(\d' is no regular",
    "train --data x.lmdb --out=": "Invalid value for '--out': is empty.",
    "train --data= --network meso4": "Invalid value for '--data': is empty.",
    "eval absent --data x.lmdb": "absent: no such run.",
    "eval run --data absent": "absent: no such corpus.",
    "eval run run --data x.lmdb": "run is named twice in RUN. Name each run once.",
    "eval run --data x.lmdb --against absent": "absent: no such run.",
    "eval run --data x.lmdb --masks absent": "absent: no such corpus.",
    "eval run --data x.lmdb --html no/report.html": "--html must be a file in an existing",
    "eval run --data x.lmdb --csv /proc/1.csv": "/proc/1.csv: cannot be written",
    "eval run --data x.lmdb --html x.lmdb/page.html": "lies inside",
    "eval run --data x.lmdb --html weights.h5": "already exists, and this command did not write",
    "eval run --data x.lmdb --csv -": "--csv must be a file in an existing folder, got -.",
    "train --data x.lmdb --recipe=": "Invalid value for '--recipe': is empty.",
    "eval fit --data x.lmdb --quality c40 --split train": "No sample is c40: no key names a",
    "eval fit --data x.lmdb --split val": "x.lmdb: no sample in split val",
    "eval fit --data x.lmdb --thresholds": "--thresholds is for runs of mml, and fit is of amten",
    "eval fitted --data x.lmdb --masks x.lmdb": "for runs of mml, and fitted is of a spectrum.",
    "decide fit --data x.lmdb --split train": "but --fpr 0.01 with 95 % confidence needs 299.",
    "decide absent --data x.lmdb": "absent: no such run.",
    "decide run --data absent": "absent: no such corpus.",
    "decide run --data x.lmdb --fpr 0": "Invalid value for '--fpr'",
    "decide run --data x.lmdb --conformal --confidence 0.9": "--conformal keeps the shares on",
    "predict run in --recheck": "run: --recheck needs a decision, and the run has none.",
    "predict run in --recheck-suite gent": "No suite named 'gent'. Did you mean 'gend'?",
    "predict run in --recheck-suite dfdc-preview": "fps:15: for whole videos only",
    "robustness run --data x.lmdb --data in/../x.lmdb": "in/../x.lmdb is named twice.",
    "robustness absent --data x.lmdb": "absent: no such run.",
    "robustness run --data absent": "absent: no such corpus.",
    "robustness run in/../run --data x.lmdb": "in/../run, which is run, is named twice in",
    "robustness run --data x.lmdb --val absent": "absent: no such corpus.",
    "robustness run --data x.lmdb --val x.lmdb --val x.lmdb": "x.lmdb is named twice.",
    "robustness run --data x.lmdb --suite table-xi": "Did you mean 'table-ix'?",
    "robustness run --data x.lmdb --suite gend:9": "suite gend has severities 1 to 5, got 9.",
    "robustness run --data x.lmdb --suite gend:x": "severity of a suite must be a whole number",
    "robustness run --data x.lmdb --op swop": "No operation named 'swop'.",
    "robustness run --data x.lmdb --op jp:60+fps:15": "fps:15: for whole videos only",
    "robustness run --data x.lmdb --html no/page.html": "--html must be a file in an existing",
    "robustness run --data x.lmdb --html p --csv p": "p: --csv and --html must be two files.",
    "predict absent in": "absent: no such run.",
    "predict run absent.png": "absent.png: no such file or folder.",
    "predict run in --html no/page.html": "--html must be a file in an existing",
    "predict run in --html p --csv p": "p: --csv and --html must be two files.",
    "explain absent in --out y": "absent: no such run.",
    "explain run absent.png --out y": "absent.png: no such file or folder.",
    "explain run --data absent --out y": "absent: no such corpus.",
    "explain fit in --out in": "in already exists.",
    "explain run in --out y --method swop": "No method named 'swop'.",
    "explain fit --out y": "PATH or --data must name an image, a video or a corpus.",
    "explain fit in --out y --layer swop": "No layer named 'swop'. Known: conv1, fc, pool4,",
    "explain fit in --out y --layer relu8.1": "No layer named 'relu8.1'. Did you mean 'relu",
    "explain fit in --out y --layer conv1.0": "No layer named 'conv1.0'. Did you mean 'conv",
    "explain fit in --out y --target swop": "No class named 'swop'.",
    "explain fit in --out y --landmarks absent": "absent: no such file. Give dlib's predictor",
    "explain fit in --out y --snapshots": "fit: no snapshots.",
    "explain fit in --out y --method traces --average": "--landmarks need a method that gives heat",
    "explain fitted in --out y": "fitted: a spectrum run, which has no network to explain.",
    "explain run in --out y --device cuda:x": "must be auto, cpu, cuda or cuda:N, got 'cuda:x'.",
    "spectrum train --data absent": "absent: no such corpus.",
    "spectrum train --data x.lmdb --out in": "in already exists.",
    "spectrum train --data x.lmdb": "runs/spectrum-svm-rbf already exists.",
    "spectrum eval absent --data x.lmdb": "absent: no such run.",
    "spectrum predict absent in": "absent: no such run.",
    "train --data x.lmdb --out y": "x.lmdb: no sample in split val",
    "train --data absent": "absent: no such corpus.",
    "train --data x.lmdb --masks absent": "absent: no such corpus.",
    "train --data x.lmdb --network swop": "No network named 'swop'.",
    "train --data x.lmdb --recipe swop": "No recipe named 'swop'.",
    "train --data x.lmdb --recipe absent.toml": "absent.toml: cannot be read",
    "train --data x.lmdb --set swop=1": "A recipe has no 'swop'.",
    "train --data x.lmdb --set size=0": "amtennet: size must be from 1 to 4096, got 0.",
    "train --data x.lmdb --set select=swop": "select must be one of accuracy, loss, last, got",
    "train --data x.lmdb --recipe mine.toml": "mine.toml: missing base_lr, ",
    "train --data x.lmdb --network mml": "--masks must name the corpus of masks for mml.",
    "train --data x.lmdb --init in": "in: no run: the folder holds no run.json.",
    "train --data x.lmdb --init fitted": "fitted: a run of `hffkit spectrum` has no network.",
    "train --data x.lmdb": "runs/amtennet already exists.",
    "train --data x.lmdb --degrade swop": "No operation named 'swop'.",
    "train --data x.lmdb --degrade gop-mix": "gop-mix: for whole videos only",
    "train --data x.lmdb --init absent.pth": "absent.pth: no such file.",
    "train --data x.lmdb --out in": "in already exists.",
    "train --data x.lmdb --out x.lmdb/run": "lies inside",
    "eval run --data x.lmdb --device cuda:1": "--device cuda:1 is not there",
    "train --data x.lmdb --precision bf16": "--precision must be fp32 on this processor, got bf16",
    "train --data x.lmdb --device gpu": "must be auto, cpu, cuda or cuda:N, got 'gpu'.",
    "convert absent.h5 --out y": "absent.h5: no such file.",
    "convert weights.h5 --out y --network swop": "No network named 'swop'.",
    "convert weights.h5 --out in": "in already exists.",
    "convert weights.h5 --out y": "weights.h5: unknown format.",
    "convert weights.h5 --out y --fake ,": "Invalid value for '--fake': ',' names nothing.",
    "convert fit/run.json in/../weights.h5 --out y --network meso4": "--network must be mml for a",
    "convert fit/weights.safetensors --out y": "--network must be given for a state dict.",
    "run mini-x --data hff=x.lmdb --only swop": "No step named 'swop'.",
    "run table-x --data hff=in": "in: no corpus: the folder holds no corpus.json.",
    "run swop": "No recipe named 'swop'.",
    "run table-x --data hff=absent": "absent does not exist.",
    "run table-x --data hff=x.lmdb --scale 2": "2.0 is not in the range 0<x<=1.",
    "run table-x --data hf=in": "No data named 'hf'.",
    "run table-x mini-vii --data hff=in": "mini-vii needs --data ffpp_hq=PATH: ",
    "verify /": "/: no corpus",
    "predict . x": ".: no run",
    "inspect " + "n" * 300: "has a name of 300 bytes, more than 255.",
    "build list --src in --list in --out y": "in: cannot be read: it is a folder.",
    "build ff++ --src in --out y --fake": "Option '--fake' requires an argument.",
    "degrade x.lmdb --op jp:60 --operations in": "in: cannot be read: it is a folder.",
    "eval run --data x.lmdb --resamples 1000001": "1000001 is not in the range 0<=x<=1000000.",
    "train --data x.lmdb --threads 1025": "1025 is not in the range 1<=x<=1024.",
    "run mine.toml": "a step executes the Python file own.py. Read it, and name it by --op",
    "audit absent": "absent: no such corpus.",
    "audit x.lmdb --against absent": "absent: no such corpus.",
    "audit x.lmdb --run absent": "absent: no such run.",
    "audit x.lmdb --html no/audit.html": "--html must be a file in an existing",
    "audit x.lmdb --html p --out p": "p: --html and --out must be two files.",
    "inspect absent": "absent: no such corpus.",
    "inspect x.lmdb --out no/sheet.png": "--out must be a file in an existing",
    "inspect x.lmdb --out sheet.txt": "sheet.txt: a contact sheet is a PNG file. Name one",
    "degrade x.lmdb --op swop": "No operation named 'swop'.",
    "degrade x.lmdb --op gop:5": "gop:5: for whole videos only, and these are images.",
    "degrade x.lmdb --suite swop:1": "No suite named 'swop'.",
    "degrade x.lmdb --suite gend": "--suite must be NAME:SEVERITY",
    "degrade x.lmdb --op me5 --accept-damaged": "--accept-damaged is for folders of images.",
    "equalize absent --out y": "absent: no such corpus.",
    "equalize x.lmdb --size 64 --out y": "has a side of 32 px: it cannot be reduced to 64 px",
    "subset x.lmdb --out y": "Missing option '--share' or '--drop'.",
    "subset x.lmdb --drop absent --out y": "absent: cannot be read",
    "spectrum plot absent": "absent: no such corpus.",
    "spectrum plot x.lmdb --out no/spectra.png": "--out must be a file in an existing",
    "spectrum features absent --out y.npz": "absent: no such corpus.",
    "spectrum features x.lmdb --out weights.h5": "weights.h5 already exists. Delete it or",
    "spectrum features x.lmdb --out no/y.npz": "--out must be a file in an existing",
}
# On any machine as on one without the instructions and the driver.
SCRIPT = """
import json, sys
from click.testing import CliRunner
from hffkit.cli.main import main
from hffkit.networks import hardware
hardware._instructions = lambda: frozenset({"avx2"})
hardware._CUDA_DRIVER = "absent.so"
for line in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, line.split())
    loaded = [name for name in ("torch", "sklearn", "matplotlib") if name in sys.modules]
    print(json.dumps([line, result.exit_code, result.output, loaded]))
"""


def test_nothing_slow_is_imported_before_a_refusal(tmp_path: Path) -> None:
    build_two_classes(tmp_path, 2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"format": 1}')
    (tmp_path / "weights.h5").touch()
    write_runs(tmp_path)
    (tmp_path / "mine.toml").write_text('steps.a = {do = "degrade", operations = "own.py"}')
    command = [sys.executable, "-c", SCRIPT, json.dumps(list(REFUSED))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row[0] for row in found] == list(REFUSED)
    for line, code, output, loaded in found:
        assert REFUSED[line] in output, line
        assert (code in (1, 2), loaded) == (True, []), line
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fit", "fitted", "in", "mine.toml", "run", "runs", "weights.h5", "x.lmdb",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "amtennet", "spectrum-svm-rbf",
    ]  # fmt: skip


def write_runs(folder: Path) -> None:
    """Write a run with two tensors, one of a spectrum, and runs under the default names."""
    row = {"format": 1, "made": {}, "result": None}
    fed = {"colour": "BGR", "low": 0, "high": 255, "filter": "opencv-linear"}
    network = {"network": "amtennet", "size": 128, "input": fed, "classes": BINARY.to_json()}
    for name, more in (("fit", network), ("fitted", {"kind": "spectrum"})):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(json.dumps({**row, **more}))
    tensors = {"conv1.weight": np.zeros(1, np.float32), "fc.bias": np.zeros(1, np.float32)}
    save_file(tensors, folder / "fit/weights.safetensors")
    for name in ("amtennet", "spectrum-svm-rbf"):
        (folder / "runs" / name).mkdir(parents=True)


def test_a_file_is_tried_without_a_change(tmp_path: Path) -> None:
    old = EVAL_PAGE.marked(b"old")
    (tmp_path / "old.html").write_bytes(old)
    for name in ("old.html", "new.html"):
        check_output(tmp_path / name, "html", EVAL_PAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["old.html"]
    assert (tmp_path / "old.html").read_bytes() == old
    for path in (tmp_path, tmp_path / "no/new.html", tmp_path / "a\0b/x"):
        with pytest.raises(ArgumentError, match=r"^`html` must be a file in an existing folder"):
            check_output(path, "html", EVAL_PAGE)
    with pytest.raises(StorageError, match=r"/proc/new\.html: cannot be written"):
        check_output(Path("/proc/new.html"), "html", EVAL_PAGE)


def commands_of(
    command: click.Command, *names: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands with their names."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands_of(child, *names, name)
    else:
        yield names, command


def is_path(param: click.Parameter) -> bool:
    """Tell by type, or by name, if a parameter takes paths."""
    if isinstance(param.type, click.Path) or isinstance(param, click.Argument):
        return True
    metavar = param.metavar if isinstance(param, click.Option) else None
    return bool(re.search("CORPUS|FILE|PATH", metavar or ""))


PATHS = [
    pytest.param(names, command, param, id=f"{' '.join(names)} {param.name}")
    for names, command in commands_of(main)
    for param in command.params
    if is_path(param) and not isinstance(param.type, options.Parsed)
]


@pytest.mark.parametrize(("names", "command", "param"), PATHS)
def test_an_empty_path_is_refused_by_every_command(
    names: tuple[str, ...], command: click.Command, param: click.Parameter, run: Run
) -> None:
    words: list[str] = []
    for each in command.params:
        if each is not param and not each.required:
            continue
        if isinstance(each, click.Argument):
            words.append("" if each is param else "x")
        else:
            words += [each.opts[0], "" if each is param else "1"]
    done = run(*names, *words)
    assert done.exit_code == 2
    assert "is empty." in done.output


def test_an_empty_path_in_a_recipe_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"steps.a.src must be a path, got an empty text"):
        typed("", Path, "steps.a.src")


def test_a_corpus_of_no_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_two_classes(tmp_path, 2)
    monkeypatch.chdir(tmp_path)  # a folder of corpora, which the empty path would name
    for names in ([""], ["x.lmdb", ""]):
        with pytest.raises(StorageError, match="A corpus has an empty name"):
            check_corpora(names)
