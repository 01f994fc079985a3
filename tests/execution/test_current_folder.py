"""Python files that lie in the current folder, beside the data, are not executed by any command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run
from makers.runs import write_run
from makers.trees import HOSTILE, OF_PYTHON, build_two_classes, hostile_folder

from hffkit.manifest.classes import BINARY

# What the installed script does for each line, but that even little work is given to a worker.
SCRIPT = """
import sys
from click.testing import CliRunner
from hffkit.execution import pool
from hffkit.cli.main import main
pool._ALONE = 1e-9
if __name__ == "__main__":
    for line in sys.argv[1:]:
        done = CliRunner().invoke(main, line.split(), catch_exceptions=False)
        print(line, done.output)
        assert done.exit_code == 0, line
"""
WITH_WORKERS = (
    "build folder --src ../in --real a --fake b --accept-duplicates --out built.lmdb",
    "pack ../x.lmdb --size 32 --out packed.lmdb",
    "degrade ../x.lmdb --op jp60 --out degraded.lmdb",
    "degrade ../in --op jp60 --out degraded",
    "spectrum features ../in --out features.npz",
    "spectrum train --data ../x.lmdb --out spectrum",
    "robustness ../run --data ../x.lmdb --op jp60 --resamples 0",
    "audit ../x.lmdb --html audit.html",
)
ALONE = (
    "eval ../run --data ../x.lmdb --resamples 0 --html page.html",
    "predict ../run ../in/a/0000.png --whole --html predicted.html",
    "explain ../run ../in/a/0000.png --whole --out explained",
    "train --data ../x.lmdb --network meso4 --task binary --max-iterations 1 --set size=32 "
    "--out trained",
    "verify ../x.lmdb",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, a corpus of them, and a script that starts as hffkit."""
    root = tmp_path_factory.mktemp("current")
    build_two_classes(root, 24)
    (root / "bin").mkdir()
    (root / "bin" / "script.py").write_text(SCRIPT, "utf-8")
    return root


@pytest.mark.slow
def test_no_code_of_the_current_folder_is_executed(home: Path) -> None:
    write_run(home / "run", BINARY)
    here = home / "here"
    mark = hostile_folder(here)
    lines = [*(f"{line} --workers 2" for line in WITH_WORKERS), *ALONE]
    command = [sys.executable, str(home / "bin" / "script.py"), *lines]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert not mark.exists(), mark.read_text("utf-8")
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([str(Path(sys.executable).with_name("hffkit"))], HOSTILE),
        ([sys.executable, "-P", "-m", "hffkit"], HOSTILE),
        # Python itself imports the others from the current folder, before any code of ours.
        ([sys.executable, "-m", "hffkit"], set(HOSTILE) - set(OF_PYTHON)),
    ],
    ids=["script", "safe -m", "-m"],
)
def test_every_way_to_start_leaves_out_the_current_folder(
    words: list[str], names: tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    if not Path(words[0]).exists():
        pytest.skip("the script hffkit is not installed beside this Python")
    mark = hostile_folder(tmp_path / "here", names)
    command = [*words, "inspect", str(home / "x.lmdb"), "--out", "sheet.png"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, env=clean)
    assert not mark.exists(), mark.read_text("utf-8")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here/sheet.png").exists()


def test_workers_import_what_their_script_imports(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(n): return 2 * n\n", "utf-8")
    (tmp_path / "script.py").write_text(
        "from beside import double\n"
        "from hffkit.execution.pool import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(1) as pool:\n"
        "        print(pool.submit(double, 21).result())\n",
        "utf-8",
    )
    command = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr


def test_a_current_folder_that_was_deleted_is_named_before_anything_begins(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = run("verify", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: The current folder was deleted. Change to another one")
    assert len(done.stderr.splitlines()) == 1
