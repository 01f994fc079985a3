"""The files of a run: tensors, weights and run.json."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from makers.runs import write_run

from hffkit.errors import WeightsError
from hffkit.networks.spec import InputSpec
from hffkit.runs.run import read_run
from hffkit.runs.weights import read_tensors, read_weights, write_tensors


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("finished") / "run")


def test_equal_tensors_are_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, 3, 2, 2)}
    facts = {"z": 1, "iteration": 3, "best": {"y": 0.1, "x": None}}
    paths = [tmp_path / name for name in ("one", "two", "three")]
    write_tensors(paths[0], tensors, facts)
    shuffled = {name: tensors[name].clone() for name in sorted(tensors)}
    shuffled["a"] = shuffled["a"].to(memory_format=torch.channels_last)
    write_tensors(paths[1], shuffled, dict(reversed(facts.items())))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    shuffled["b"][0, 0] = 1e-30
    write_tensors(paths[2], shuffled, facts)
    assert paths[0].read_bytes() != paths[2].read_bytes()
    found, told = read_tensors(paths[0])
    assert told == facts
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("kept", [0, 4, 8, 60, 5000, -1])
def test_truncated_weights_are_refused(finished: Path, tmp_path: Path, kept: int) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "copy"))
    path = run / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"weights\.safetensors: damaged"):
        read_weights(run)


def test_other_files_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"\x80\x02pickle" * 100)
    with pytest.raises(WeightsError, match="damaged, or no safetensors file"):
        read_weights(tmp_path)
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(tmp_path / "absent")


def test_a_run_without_a_filter_was_fed_by_opencv(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "copy"))
    row = json.loads((run / "run.json").read_text())
    assert row["input"].pop("filter") == "pillow-nearest"
    (run / "run.json").write_text(json.dumps(row))
    assert read_run(run).input == InputSpec("RGB", 0, 1, "opencv-linear")
    row["input"]["filter"] = "cubic"
    (run / "run.json").write_text(json.dumps(row))
    with pytest.raises(WeightsError, match=r"damaged: input is .*cubic"):
        read_run(run)


def test_runs_of_other_versions_and_damaged_ones_are_refused(
    finished: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "copy"))
    row = json.loads((run / "run.json").read_text())
    assert row["format"] == 1
    for text, message in (
        (json.dumps({**row, "format": 2}), "run format must be 1, got 2"),
        ("[]", r"run.json: must be a JSON object, got \[\]"),
        ("{}", "run format must be 1, got null"),
        ("{", "no JSON: .* which is cut off"),
        (json.dumps({**row, "classes": row["classes"] * 3000}), "from 1 to 4096 classes"),
        (json.dumps({k: v for k, v in row.items() if k != "classes"}), "damaged"),
        (json.dumps({k: v for k, v in row.items() if k != "size"}), "damaged"),
        (json.dumps({**row, "more": 1}), "damaged"),
    ):
        (run / "run.json").write_text(text)
        with pytest.raises(WeightsError, match=message):
            read_run(run)
    with pytest.raises(WeightsError, match=r"no run: the folder holds no run\.json"):
        read_run(tmp_path)
