"""Files of others that are damaged, altered or made to do harm."""

import io
import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from makers.damaged_files import damaged_texts, damaged_weights, scored, spectrum_run
from makers.runs import write_run
from makers.trees import build_two_classes, listing, touch, write_image

from hffkit.arrays import array_of, arrays_of, stored_files
from hffkit.errors import HffkitError, RecipeError, StorageError, WeightsError
from hffkit.interop.weights import foreign_weights
from hffkit.networks.table import build
from hffkit.runs.run import read_run
from hffkit.runs.spectrum import MODEL_FILE
from hffkit.storage.staging import Partial
from hffkit.training.study_config import read_study_config

Run = Callable[..., Result]
OUTCOMES = {"read", "refused with the file's name"}


def test_damaged_texts_are_read_or_refused_by_name(tmp_path: Path) -> None:
    outcomes = damaged_texts(tmp_path, 100, seed=0)
    assert outcomes.keys() == OUTCOMES
    assert outcomes.total() == 100


def test_damaged_weights_are_read_or_refused_by_name(tmp_path: Path) -> None:
    outcomes = damaged_weights(tmp_path, 48, seed=0)
    assert outcomes.keys() == OUTCOMES
    assert outcomes.total() == 48


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    assert damaged_texts(tmp_path / "texts", 500, seed=1).total() == 500
    assert damaged_weights(tmp_path / "weights", 100, seed=1).total() == 100


# --- what waits for ever, or is no file at all ------------------------------------------------

PIPES = [
    "build list --src in --list pipe --out o --real 1 --fake 0",
    "build folder --src in --real a --fake b --boxes pipe --out o",
    "degrade in --operations pipe --op jp:60 --out o",
    "degrade in --suite pipe.toml:1 --out o",
    "subset x.lmdb --drop pipe --out o",
    "train --data x.lmdb --recipe pipe.toml --out o",
    "train --data x.lmdb --init pipe.pth --network meso4 --out o",
    "run pipe.toml --out o",
    "convert pipe.pth --network meso4 --out o",
    "predict run in",
]


@pytest.mark.parametrize("line", PIPES)
def test_a_named_pipe_is_refused_at_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "x.lmdb" in line:
        build_two_classes(tmp_path, 4)
    else:
        write_image(tmp_path / "in/a/0.png", 1)
    (tmp_path / "run").mkdir()
    for name in ("pipe", "pipe.toml", "pipe.pth", "run/run.json"):
        os.mkfifo(tmp_path / name)
    begin = time.monotonic()
    done = run(*line.split())
    assert done.exit_code in (1, 2), done.output
    assert "it is a named pipe" in done.stderr
    assert time.monotonic() - begin < 5


def test_roots_and_current_folders_are_no_corpora_and_no_runs(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("verify /", "verify .", "inspect /", "predict . x", "predict / x", "eval ."):
        done = run(*line.split())
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: {line.split()[1]}: no ")


def test_a_link_to_itself_is_refused_wherever_a_path_is_given(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for line in ("verify loop", "audit x --html loop", "merge x --out loop/y", "predict loop x"):
        done = run(*line.split())
        assert done.exit_code == 2
        assert done.stderr.endswith("is a symbolic link that leads to itself.\n")


def test_a_corpus_is_inspected_from_inside(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(build_two_classes(tmp_path, 2))
    assert run("inspect", ".", "--no-sheet").exit_code == 0


# --- lists ------------------------------------------------------------------------------------

LISTS = [
    ("a.png 3000000000\nb.png 0\n", r"l.txt:1: must be `path label` with a whole number up to 21"),
    (f"a.png {'9' * 5000}\nb.png 0\n", "l.txt:1: must be `path label` with a whole number"),
    ("a\0.png 1\nb.png 0\n", r"l.txt:1: 'a\\x00.png' is no path: it holds a NUL"),
    (f"path,real\na.png,{'1' * 131_073}\n", "l.txt:2: no CSV: field larger than field limit"),
    (f"path,real,{'x' * 131_073}\na.png,1\n", "l.txt:1: no CSV: field larger than field limit"),
    (f"path,real\na.png,{'1' * 5000}\n", "l.txt:2: real must be 0 or 1, got '1111"),
    ("path,real\na,b.png,1\n", "l.txt:2: 3 cells, but 2 columns. Put quotation marks around a na"),
    ("path,real\n", "l.txt: lists nothing"),
    ("path,real\n,1\n", "l.txt:2: the line has no path"),
]


@pytest.mark.parametrize(("text", "words"), LISTS)
def test_a_list_that_nobody_could_mean_is_refused_by_file_and_line(
    tmp_path: Path, text: str, words: str
) -> None:
    touch(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "l.txt").write_text(text)
    known: dict[str, Any] = {} if text.startswith("path,") else {"real": ("1",), "fake": ("0",)}
    with pytest.raises(HffkitError, match=words) as caught:
        listing("list", tmp_path / "in", list_file=tmp_path / "l.txt", **known)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"label": "FAKE", "original": 5}, "a.mp4: original must be a text, got 5"),
        ({"label": ["FAKE"]}, r"a.mp4: label must be a text, got \['FAKE'\]"),
        ({"label": "fake"}, "a.mp4: label must be one of FAKE, REAL, got 'fake'"),
        (None, "must be {.video.: {.label.: .FAKE. or .REAL., ...}}, got null"),
    ],
)
def test_metadata_of_another_type_are_refused_by_video(
    tmp_path: Path, row: Any, words: str
) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(json.dumps({"a.mp4": row}))
    with pytest.raises(HffkitError, match=f"metadata.json: {words}"):
        listing("dfdc", tmp_path)


# --- settings ---------------------------------------------------------------------------------

SETTINGS = [
    ("a: &x [1]\nb: *x\n", "it has aliases"),
    ("a: " + "[" * 5000, "more than 64 lists and tables in brackets"),
    ("\n".join(f"{'  ' * i}a:" for i in range(200)), "more than 64 tables"),
    ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
    ("- 1\n", "must have settings such as network: ResNet"),
    ("a: " + "9" * 5000, "cannot be read: Exceeds the limit"),
    ("#" * 70_000, "has 70000 bytes, more than the 65536"),
]


@pytest.mark.parametrize(("text", "words"), SETTINGS)
def test_settings_that_grow_or_execute_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    begin = time.monotonic()
    with pytest.raises(RecipeError, match=f"s.yaml: .*{words}"):
        read_study_config(tmp_path / "s.yaml")
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("value", ["1000000000", "9" * 5000, "0x" + "f" * 5000, "1e9", "[" * 999])
def test_a_batch_size_that_no_machine_holds_is_refused(
    tmp_path: Path, run: Run, value: str
) -> None:
    build_two_classes(tmp_path, 4)
    begun = ["train", "--data", tmp_path / "x.lmdb", "--network", "meso4", "--out", tmp_path / "o"]
    lines = [["--set", f"batch_size={value}"], ["--batch-size", value]]
    for more in lines:
        done = run(*begun, *more)
        assert done.exit_code in (1, 2)
        assert "batch" in done.stderr
        assert "must be" in done.stderr or "is not a valid" in done.stderr


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 5000, "9" * 5000])
def test_work_whose_command_is_lost_says_what_to_delete(tmp_path: Path, text: str) -> None:
    with Partial(tmp_path / "out", {"verb": "build"}):
        pass
    (tmp_path / "out.partial/command.json").write_text(text)
    advice = r"command\.json: .* Delete that folder and run the command again\.$"
    for _ in range(2):  # the lock is given back
        with pytest.raises(StorageError, match=advice):
            Partial(tmp_path / "out", {"verb": "build"})


# --- weights ----------------------------------------------------------------------------------


def test_tensors_that_claim_more_than_any_network_are_refused(tmp_path: Path) -> None:
    path, state = tmp_path / "a.pth", build("meso4", 2).state_dict()
    one = torch.zeros(1)
    head = next(name for name in reversed(state) if name.endswith(".weight"))
    for shape, words in (
        ((10**12, state[head].shape[1]), "its tensors claim [0-9]{13,} bytes"),
        ((5000, state[head].shape[1]), "it has 5000 outputs, more than 4096"),
    ):
        torch.save({**state, head: one.expand(shape)}, path)
        assert path.stat().st_size < 1 << 20
        with pytest.raises(WeightsError, match=f"a.pth: {words}"):
            foreign_weights(path, "meso4")


def test_a_pickle_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    class Claim(pickle.Pickler):
        def persistent_id(self, each: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 10**13, None) if each == 1 else None

    path = tmp_path / "a.pth"
    with path.open("wb") as file:  # the magic number and version of files before PyTorch 1.6
        for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        Claim(file, protocol=2).dump({"x": 1})
        pickle.dump(["0"], file, protocol=2)
        file.write((10**13).to_bytes(8, "little"))
    with pytest.raises(WeightsError, match=r"a\.pth: damaged"):
        foreign_weights(path, "meso4")


def test_compressed_weights_are_refused_before_they_grow(tmp_path: Path) -> None:
    torch.save(build("meso4", 2).state_dict(), tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as archive,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for entry in archive.infolist():
            other.writestr(entry.filename, archive.read(entry))
    with pytest.raises(WeightsError, match=r"b\.pth: damaged.*its parts are compressed"):
        foreign_weights(tmp_path / "b.pth", "meso4")


def test_a_header_of_safetensors_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for header in (
        {"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"x": {"dtype": "F32", "shape": [10**6, 10**6, 10**9], "data_offsets": [0, 4]}},
    ):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
        with pytest.raises(WeightsError, match=r"a\.safetensors: damaged"):
            foreign_weights(path, "meso4")
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match=r"a\.safetensors: damaged"):
        foreign_weights(path, "meso4")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "meso5"),
        ("network", 3),
        ("size", 10**12),
        ("classes", []),
        ("classes", [{"id": 0, "name": "a", "is_fake": True}] * 2),
        ("input", {}),
        ("made", None),
    ],
)
def test_a_changed_run_is_refused_by_its_file(tmp_path: Path, name: str, value: Any) -> None:
    path = write_run(tmp_path / "run") / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(WeightsError, match=r"run/run\.json: damaged: "):
        read_run(tmp_path / "run")


# --- models of spectra ------------------------------------------------------------------------


def altered(folder: Path, change: Callable[[dict[str, bytes], Any], None]) -> None:
    """Change the files of a model and its schema, and pack them again."""
    path = folder / MODEL_FILE
    files = stored_files(path.read_bytes())
    schema = json.loads(files["schema.json"])
    change(files, schema)
    files["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def put_array(name: str, array: np.ndarray[Any, Any]) -> Callable[[dict[str, bytes], Any], None]:
    def change(files: dict[str, bytes], schema: Any) -> None:
        file = io.BytesIO()
        np.save(file, array)
        files[schema["content"]["content"][name]["file"]] = file.getvalue()

    return change


def put_setting(name: str, text: str) -> Callable[[dict[str, bytes], Any], None]:
    def change(_: dict[str, bytes], schema: Any) -> None:
        schema["content"]["content"][name]["content"] = text

    return change


ALTERED = [
    ("svm-rbf", put_array("support_vectors_", np.zeros((3, 6))), "support_vectors_ is no array"),
    ("svm-rbf", put_array("support_", np.zeros(10**6, np.int32)), "support_vectors_ is no array"),
    ("svm-rbf", put_array("_dual_coef_", np.zeros((1, 2))), "_dual_coef_ is no array"),
    ("svm-rbf", put_array("_n_support", np.array([10**9, 1], np.int32)), "support vectors"),
    ("svm-rbf", put_array("_n_support", np.array([-3, 1], np.int32)), "support vectors"),
    ("svm-rbf", put_array("_intercept_", np.array([np.nan])), "not finite"),
    ("svm-rbf", put_setting("kernel", '"poly"'), "kernel is 'poly', not rbf"),
    ("svm-poly", put_setting("degree", "1000000000"), "degree is 1000000000, not 3"),
    ("svm-rbf", put_setting("fit_status_", "1"), "it was not fitted"),
    ("svm-rbf", put_setting("gamma", '"x"'), "gamma is 'x', not 0.86"),
    ("logistic", put_array("coef_", np.zeros((1, 7))), "coef_ is no array"),
    ("logistic", put_array("classes_", np.array([0, 1, 2])), "classes_ is no array"),
    ("logistic", put_setting("n_features_in_", "7"), "takes 7 features, but run.json has 6"),
    ("kmeans", put_array("cluster_centers_", np.zeros((9, 6))), "cluster_centers_ is no array"),
]


@pytest.mark.parametrize(("name", "change", "words"), ALTERED)
def test_an_altered_model_is_refused_before_it_is_used(
    tmp_path: Path, name: str, change: Callable[[dict[str, bytes], Any], None], words: str
) -> None:
    folder = spectrum_run(tmp_path / "run", name)
    altered(folder, lambda *_: None)
    scored(folder)  # it is read, packed again as it was
    altered(folder, change)
    with pytest.raises(WeightsError, match=rf"model\.skops.*{words}"):
        scored(folder)


@pytest.mark.parametrize("loader", ["MethodNode", "FunctionNode", "OperatorFuncNode", "TypeNode"])
def test_a_model_that_holds_code_is_not_loaded(tmp_path: Path, loader: str) -> None:
    folder = spectrum_run(tmp_path / "run", "kmeans")

    def change(_: dict[str, bytes], schema: Any) -> None:
        row = {"__class__": "load", "__module__": "numpy", "__loader__": loader, "__id__": 1}
        schema["content"]["content"]["algorithm"] = {**row, "content": "load"}

    altered(folder, change)
    with pytest.raises(WeightsError, match=r"contains numpy\.load, which no model of hffkit does"):
        scored(folder)


def test_an_array_whose_header_claims_more_is_refused() -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(2, 3).T)
    good = file.getvalue()
    assert np.array_equal(array_of(good), np.arange(6.0).reshape(2, 3).T)
    header = good.index(b"(3, 2)")
    for bad in (
        good.replace(b"(3, 2)", b"(9,10)"),
        good[:header] + b"(10**9,)" + good[header + 8 :],
        good.replace(b"<f8", b"|O8"),
        good[:-1],
        good + b"x",
        good[:20],
        b"",
    ):
        with pytest.raises(ValueError, match=r"."):
            array_of(bad)
    file = io.BytesIO()
    np.savez_compressed(file, a=np.zeros(10**6))
    with pytest.raises(ValueError, match="its files are compressed"):
        arrays_of(file.getvalue())
