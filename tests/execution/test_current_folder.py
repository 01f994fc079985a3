"""Python files that lie in the current folder, beside the data, are not executed by any command."""

import subprocess
import sys
from pathlib import Path

import pytest
from makers.trees import build_corpus, hostile_folder, write_image

# What the installed script does, but that even little work is given to a worker.
SCRIPT = """
from hffkit.execution import pool
from hffkit.cli.main import main
pool._ALONE = 1e-9
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, a corpus of them and a script, which starts as hffkit does."""
    root = tmp_path_factory.mktemp("current")
    for cls in ("real", "fake"):
        for number in range(12):
            write_image(root / "images" / cls / f"{number}.png", number)
    build_corpus("folder", root / "images", root / "data.lmdb", real=("real",), fake=("fake",))
    (root / "bin").mkdir()
    (root / "bin" / "script.py").write_text(SCRIPT, "utf-8")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "build folder --src ../images --real real --fake fake --accept-duplicates --out built.lmdb",
        "pack ../data.lmdb --size 32 --out packed.lmdb",
        "degrade ../data.lmdb --op jp60 --out degraded.lmdb",
        "degrade ../images --op jp60 --out degraded",
        "spectrum features ../images --out features.npz",
        "spectrum train --data ../data.lmdb --out run",
    ],
)
def test_no_code_of_the_current_folder_is_executed(home: Path, tmp_path: Path, words: str) -> None:
    here = home / tmp_path.name
    mark = hostile_folder(here)
    command = [sys.executable, str(home / "bin" / "script.py"), *words.split(), "--workers", "2"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert not mark.exists(), mark.read_text("utf-8")
    assert done.returncode == 0, done.stderr


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
