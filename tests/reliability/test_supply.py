"""The wheel and the source distribution hold what the program reads, and work where they lie."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import Run as Invoke

ROOT = Path(__file__).parent.parent.parent
# Lists of what is shipped, pages and papers: everything that is read from the package's own files.
SCRIPT = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
import hffkit
from hffkit.cli.main import main
from hffkit.pipeline.recipe import read_recipe
from hffkit.pipeline.given import recipe_names
from hffkit.reports.html import html_of
from hffkit.sources.ffpp import official_pairs
from hffkit.training.recipe import read_recipe as read_settings, recipe_file, recipe_names as trains
shown = [CliRunner().invoke(main, line.split()).output for line in json.loads(sys.argv[1])]
read = [len(read_recipe(name).steps) for name in recipe_names()]
read += [len(read_settings(recipe_file(name))) for name in trains()]
page = html_of("gallery.html.j2", title="t", facts=[], notes=[], sections=[])
print(json.dumps([str(Path(hffkit.__file__).parent), shown, read, page, len(official_pairs())]))
"""
COMMANDS = ("--version", "run --list", "train --list", "degrade --list", "--help")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source distribution, and of it the wheel; return their folder."""
    pytest.importorskip("build")
    out, copy = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("copy")
    left_out = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "hffkit-demo")
    shutil.copytree(ROOT, copy, ignore=left_out, dirs_exist_ok=True)  # builds write into it
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def data_files() -> set[str]:
    """Return the files of the package that are no Python, by their places in the wheel."""
    folders = {"hffkit": "hffkit", "recipes": "hffkit/recipes", "manifests": "hffkit/manifests"}
    return {
        f"{place}/{path.relative_to(ROOT / name).as_posix()}"
        for name, place in folders.items()
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


def modules() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "hffkit").rglob("*.py")}


@pytest.mark.slow
def test_the_wheel_and_the_source_hold_every_file(dist: Path) -> None:
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert len(data_files()) > 80
    assert data_files() | modules() <= in_wheel
    assert not [name for name in in_wheel if name.startswith("tests/")]
    with tarfile.open(source) as file:
        in_source = {name.partition("/")[2] for name in file.getnames()}
    tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    wanted = {"constraints.txt", "SECURITY.md", "CONTRIBUTING.md", "docs/architecture.md"}
    assert tracked | modules() | wanted <= in_source
    assert {name.removeprefix("hffkit/") for name in data_files() if "/recipes/" in name} <= (
        in_source
    )


@pytest.mark.slow
def test_the_installed_package_reads_its_own_files(dist: Path, tmp_path: Path, run: Invoke) -> None:
    (wheel,) = dist.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-P", "-c", SCRIPT, json.dumps(COMMANDS)]
    clean = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command, cwd=tmp_path / "empty", env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder, shown, read, page, n_pairs = json.loads(done.stdout)
    assert Path(folder) == site / "hffkit"
    assert shown == [run(*line.split()).output for line in COMMANDS]
    assert all(read)
    assert page.startswith("<!DOCTYPE html>")
    assert n_pairs == 1000
