"""First weights of a training: of a run, of Caffe, of another network."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers.trainings import request_of

from hffkit.errors import WeightsError
from hffkit.runs.weights import read_weights
from hffkit.training.train import train


def test_training_begins_with_the_weights_of_a_run(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    request = request_of(packed, init=finished, max_iterations=0, seed=5)
    _, run = train(request, tmp_path / "run")
    assert run.made["init"]["not_taken"] == []
    assert run.made["init"]["path"] == str(finished)
    old, new = read_weights(finished), read_weights(tmp_path / "run")
    assert all(torch.equal(old[name], value) for name, value in new.items())
    file = finished / "weights.safetensors"
    train(replace(request, init=file), tmp_path / "file")
    again = read_weights(tmp_path / "file")
    assert all(torch.equal(old[name], value) for name, value in again.items())


def test_a_last_layer_with_other_outputs_is_not_taken(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    request = request_of(packed, init=finished, task="binary", max_iterations=0)
    _, run = train(request, tmp_path / "run")
    assert run.classes.names == ("fake", "real")
    assert run.made["init"]["not_taken"] == ["fc_net_2.bias", "fc_net_2.weight"]
    old, new = read_weights(finished), read_weights(tmp_path / "run")
    assert new["fc_net_2.weight"].shape == (2, 300)
    assert all(torch.equal(old[n], v) for n, v in new.items() if not n.startswith("fc_net_2."))


@pytest.mark.golden
def test_training_begins_with_the_weights_of_caffe(
    data: Path, native: Path, tmp_path: Path
) -> None:
    from hffkit.interop.caffemodel import read_caffemodel

    file = data / "golden/caffe-amtennet/init_iter_0.caffemodel"
    request = request_of(native, init=file, task="binary", max_iterations=0, size=128)
    _, run = train(request, tmp_path / "run")
    assert run.made["init"]["not_taken"] == []
    blobs, new = read_caffemodel(file), read_weights(tmp_path / "run")
    for layer in ("conv1", "conv4", "fc_net_0", "fc_net_2"):
        assert np.array_equal(new[f"{layer}.weight"].numpy(), blobs[layer][0])
        assert np.array_equal(new[f"{layer}.bias"].numpy(), blobs[layer][1])


def test_weights_of_another_network_are_refused(
    packed: Path, finished: Path, tmp_path: Path
) -> None:
    for network in ("meso4", "amten-3", "model-base"):
        request = request_of(packed, network=network, init=finished)
        with pytest.raises(WeightsError, match=f"weights of another network than {network}"):
            train(request, tmp_path / network)
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")  # whole, but for a value
    with pytest.raises(WeightsError, match=r"its SHA-256 is not the one in run\.json"):
        train(request_of(packed, network="amtennet", init=copy), tmp_path / "altered")
    for name, path in (("absent", tmp_path / "nowhere"), ("text", tmp_path / "notes.txt")):
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(WeightsError):
            train(request_of(packed, init=path), tmp_path / name)
