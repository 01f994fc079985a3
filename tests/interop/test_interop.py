import math
import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from makers.damaged_files import field, varint
from PIL import Image as Pillow

from hffkit.errors import UnknownNameError, WeightsError
from hffkit.inference.network import load_network
from hffkit.interop.caffe_network import recognise, to_state_dict
from hffkit.interop.caffemodel import Blob, read_caffemodel
from hffkit.interop.convert import convert
from hffkit.interop.keras_meso import read_keras_meso
from hffkit.interop.weights import foreign_weights
from hffkit.media.image import decode, read_bytes
from hffkit.networks.table import NETWORKS, build_blank, network_named
from hffkit.storage.datum import decode_datum
from hffkit.storage.lmdb_file import LmdbReader

_F = descriptor_pb2.FieldDescriptorProto
_INT32, _INT64, _FLOAT, _DOUBLE, _STRING, _MESSAGE = (
    _F.TYPE_INT32,
    _F.TYPE_INT64,
    _F.TYPE_FLOAT,
    _F.TYPE_DOUBLE,
    _F.TYPE_STRING,
    _F.TYPE_MESSAGE,
)
# Rows of caffe.proto: number, name, type or message, whether repeated.
MESSAGES: Mapping[str, tuple[tuple[int, str, int | str, bool], ...]] = {
    "BlobShape": ((1, "dim", _INT64, True),),
    "BlobProto": (
        (1, "num", _INT32, False),
        (2, "channels", _INT32, False),
        (3, "height", _INT32, False),
        (4, "width", _INT32, False),
        (5, "data", _FLOAT, True),
        (6, "diff", _FLOAT, True),
        (7, "shape", "BlobShape", False),
        (8, "double_data", _DOUBLE, True),
    ),
    "LayerParameter": (
        (1, "name", _STRING, False),
        (2, "type", _STRING, False),
        (3, "bottom", _STRING, True),
        (7, "blobs", "BlobProto", True),
        (10, "phase", _INT32, False),
    ),
    "V1LayerParameter": (
        (2, "bottom", _STRING, True),
        (4, "name", _STRING, False),
        (5, "type", _INT32, False),
        (6, "blobs", "BlobProto", True),
    ),
    "NetParameter": (
        (1, "name", _STRING, False),
        (2, "layers", "V1LayerParameter", True),
        (100, "layer", "LayerParameter", True),
    ),
}


def net_parameter(*, packed: bool) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, name, kind, repeated in fields:
            label = _F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL
            row = message.field.add(name=name, number=number, label=label)
            row.type = _MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                row.type_name = f".caffe.{kind}"
            elif repeated and kind != _STRING:
                row.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


Net, UnpackedNet = net_parameter(packed=True), net_parameter(packed=False)


def random_blobs(name: str, n_classes: int) -> dict[str, list[Blob]]:
    """What Caffe would store of a network: positive values, BatchNorm's as sums."""
    rng = np.random.default_rng(0)
    blobs: dict[str, list[Blob]] = {}
    with torch.device("meta"):
        state = build_blank(name, n_classes).state_dict()
    for key, tensor in state.items():
        shape = tuple(tensor.shape) or (1,)
        blobs.setdefault(key.rpartition(".")[0], []).append(rng.random(shape, np.float32) + 1)
    return blobs


def save(path: Path, blobs: Mapping[str, list[Blob]], net: Any = None) -> Path:
    net = Net(name="AMTENnet") if net is None else net
    net.layer.add(name="data", type="Data")
    for name, arrays in blobs.items():
        layer = net.layer.add(name=name, type="Convolution", bottom=["data"], phase=1)
        for array in arrays:
            blob = layer.blobs.add(data=array.ravel(), diff=[0.5])
            blob.shape.dim.extend(array.shape)
    path.write_bytes(net.SerializeToString())
    return path


SMALL: dict[str, list[Blob]] = {
    "conv1": [np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2), np.ones(2, np.float32)],
    "conv1/bn": [np.full(shape, 0.25, np.float32) for shape in (2, 2, 1)],
    "fc": [np.arange(600, dtype=np.float32).reshape(2, 300), np.zeros(2, np.float32)],
}
TINY = {name: [a.reshape(-1)[:8] for a in arrays] for name, arrays in SMALL.items()}


def assert_same(got: Mapping[str, list[Blob]], expected: Mapping[str, list[Blob]]) -> None:
    assert list(got) == list(expected)
    for name, arrays in expected.items():
        for ours, theirs in zip(got[name], arrays, strict=True):
            assert ours.dtype == np.float32
            assert ours.shape == theirs.shape
            assert np.array_equal(ours, theirs)


# Caffe's file format


@pytest.mark.parametrize("message", [Net, UnpackedNet], ids=["packed", "unpacked"])
def test_reader_reads_what_protobuf_writes(tmp_path: Path, message: Any) -> None:
    assert_same(read_caffemodel(save(tmp_path / "a.caffemodel", SMALL, message())), SMALL)


def test_reader_reads_double_values_and_values_in_pieces(tmp_path: Path) -> None:
    net = Net()
    net.layer.add(name="ip").blobs.add(double_data=[1.5, 2.5, 1e300]).shape.dim.extend([3, 1])
    path = tmp_path / "a.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert read_caffemodel(path)["ip"][0].tolist() == [[1.5], [2.5], [math.inf]]
    piece = b"\x2a\x04" + struct.pack("<f", 7)  # packed, then unpacked, then packed again
    blob = b"\x3a\x02\x08\x03" + piece + b"\x2d" + struct.pack("<f", 8) + piece
    layer = b"\x3a" + bytes([len(blob)]) + blob + b"\x0a\x02ip"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert read_caffemodel(path)["ip"][0].tolist() == [7, 8, 7]


def test_first_versions_of_caffe_are_read_with_their_four_axes(tmp_path: Path) -> None:
    blobs = random_blobs("mislnet", 2)
    net = Net()
    for name, arrays in blobs.items():
        layer = net.layers.add(name=name, type=4)
        for array in arrays:
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            layer.blobs.add(
                num=num, channels=channels, height=height, width=width, data=array.ravel()
            )
    path = tmp_path / "old.caffemodel"
    path.write_bytes(net.SerializeToString())
    read = read_caffemodel(path)
    assert read["fc8"][0].shape == (1, 1, 2, 200)
    weights = foreign_weights(path)
    assert (weights.network, weights.n_classes) == ("mislnet", 2)
    assert network_named(weights.network).size == 128
    new = to_state_dict(blobs, build_blank("mislnet", 2))
    assert all(torch.equal(weights.state[key], new[key]) for key in new)


@pytest.mark.golden
def test_layers_come_as_protobuf_reads_them_from_a_real_file(data: Path) -> None:
    path = data / "golden/caffe-amtennet/calm_iter_30.caffemodel"
    net = Net.FromString(path.read_bytes())
    expected = {
        layer.name: [
            np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim)) for blob in layer.blobs
        ]
        for layer in net.layer
        if layer.blobs
    }
    assert_same(read_caffemodel(path), expected)
    assert sum(array.size for arrays in expected.values() for array in arrays) == 2_023_325


# Hostile files


def with_blob(blob: bytes) -> bytes:
    return field(100, field(1, b"conv1") + field(7, blob))


def with_shape(*dims: int, n_values: int = 4) -> bytes:
    shape = field(7, field(1, b"".join(map(varint, dims))))
    return with_blob(shape + field(5, bytes(4 * n_values)))


HOSTILE = {
    "empty": (b"", "bytes, got 0"),
    "text": (b'name: "AMTENnet"\nlayer {\n}\n', "wire type 6"),
    "no layers": (field(1, b"net"), "no layer with weights"),
    "name is a number": (b"\x08\x05", "field 1 has wire type 0"),
    "layer is a number": (b"\xa0\x06\x05", "field 100 has wire type 0"),
    "layer is longer than the file": (b"\xa2\x06" + varint(1 << 40) + b"x", "wants 1099511627776"),
    "overlong number": (b"\xff" * 11, "more than ten bytes"),
    "half a number": (b"\xa2", "ends within a number"),
    "group": (b"\x0b\x0c", "wire type 3"),
    "field 0": (b"\x02\x00", "field number 0"),
    "shape overflows": (with_shape(1 << 32, 1 << 32, n_values=0), "holds no values"),
    "shape overflows to the right count": (with_shape(1 << 63, 1 << 63, 4), "holds 4 values"),
    "negative dim": (with_shape((1 << 64) - 4), "holds 4 values"),
    "shape disagrees": (with_shape(2, 3), "'conv1', blob 0: its shape is 2 x 3, but it holds 4"),
    "no shape": (with_blob(field(5, bytes(8))), "its shape is a single value, but it holds 2"),
    "too many axes": (with_shape(*(1,) * 33), "more than 32 axes"),
    "shape is a number": (with_blob(b"\x38\x05"), "field 7 has wire type 0, expected 2"),
    "data is a number": (with_blob(b"\x28\x05"), "field 5 has wire type 0, expected 2 or 5"),
    "half a float": (with_blob(field(5, b"abc")), "no multiple of 4"),
    "old dim is bytes": (with_blob(field(1, b"abc")), "field 1 has wire type 2, expected 0"),
    "two kinds of values": (with_blob(field(5, bytes(8)) + field(8, bytes(8))), "both float"),
    "one name twice": (with_shape(4) * 2, "two layers are named 'conv1'"),
    "many blobs": (field(100, b"\x3a\x00" * 10_001), "more than 10000 blobs"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_caffemodel_is_refused_by_name(tmp_path: Path, name: str) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "a.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="again") as raised:
        read_caffemodel(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)


def test_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    absent = tmp_path / "none.caffemodel"
    for path, reason in ((tmp_path, "it is a folder"), (absent, "no such file")):
        with pytest.raises(WeightsError, match=reason):
            read_caffemodel(path)


def try_to_read(path: Path) -> str:
    """Read a damaged file; return the error, if any. Other errors and a lot of memory fail."""
    n_bytes = path.stat().st_size
    tracemalloc.start()
    began = time.perf_counter()
    try:
        read_caffemodel(path)
    except WeightsError as error:
        return str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * n_bytes + 200_000
        assert time.perf_counter() - began < 20
    return ""


def test_every_truncation_of_a_small_file_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.caffemodel", TINY).read_bytes()
    path = tmp_path / "cut.caffemodel"
    n_read = 0
    for n_bytes in range(len(whole)):
        path.write_bytes(whole[:n_bytes])
        n_read += not try_to_read(path)
    assert n_read <= len(TINY)  # cut exactly between two layers


def test_truncations_of_a_real_file_are_refused(data: Path, tmp_path: Path) -> None:
    whole = (data / "golden/caffe-amtennet/init_iter_0.caffemodel").read_bytes()
    path = tmp_path / "cut.caffemodel"
    for n_bytes in np.geomspace(10, len(whole) - 1, 15).astype(int):
        path.write_bytes(whole[:n_bytes])
        assert str(path) in try_to_read(path)


@pytest.mark.parametrize("message", [Net, UnpackedNet], ids=["packed", "unpacked"])
def test_flipped_bytes_never_do_harm(tmp_path: Path, message: Any) -> None:
    whole = save(tmp_path / "whole.caffemodel", TINY, message()).read_bytes()
    path, rng, n_refused = tmp_path / "flipped.caffemodel", random.Random(0), 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.choice(
                (0, 0x7F, 0x80, 0xFF, rng.randrange(256))
            )
        path.write_bytes(damaged)
        n_refused += bool(try_to_read(path))
    assert n_refused > 100


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.caffemodel"
    for wrapped in (content, with_blob(content), field(100, content), field(2, content)):
        path.write_bytes(wrapped)
        try_to_read(path)


# Caffe's layers as a state dict


def test_batch_norm_statistics_are_divided_by_the_factor() -> None:
    blobs = random_blobs("amtennet", 2)
    blobs["conv5/bn"][2][:] = 0  # no training step yet: Caffe divides by nothing and reads 0
    state = to_state_dict(blobs, build_blank("amtennet", 2))
    mean, var, s = blobs["conv4/bn"]
    assert np.array_equal(state["conv4/bn.running_mean"].numpy(), mean / s)
    assert np.array_equal(state["conv4/bn.running_var"].numpy(), var / s)
    assert state["conv4/bn.scale_factor"].shape == ()
    assert float(state["conv4/bn.scale_factor"]) == s[0]
    assert not state["conv5/bn.running_mean"].any()
    assert not state["conv5/bn.running_var"].any()


def test_what_does_not_fit_is_told() -> None:
    blobs = random_blobs("amtennet", 8)
    blobs["ip<1>"] = blobs.pop("conv1")
    with pytest.raises(WeightsError) as raised:
        to_state_dict(blobs, build_blank("amtennet", 2))
    assert str(raised.value) == (
        "these weights do not fit AmtenNet: missing layers 'conv1'; unknown layers 'ip<1>'; "
        "fc_net_2 is 8x300 + 8, expected 2x300 + 2. "
        "Choose the network and the number of classes that they were trained with."
    )


def test_diverged_weights_are_refused() -> None:
    blobs = random_blobs("amtennet", 2)
    blobs["conv5/bn"][0][3] = np.nan
    with pytest.raises(WeightsError, match="'conv5/bn' holds NaN or infinity"):
        to_state_dict(blobs, build_blank("amtennet", 2))


@pytest.mark.parametrize("n_classes", [2, 8])
@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name.startswith(("amten", "model-base", "mislnet"))]
)
def test_network_is_recognised_by_its_layers(name: str, n_classes: int) -> None:
    same = {"amten-1b": "amtennet", "amtennet-7": "amtennet"}  # the same weights, other arithmetic
    assert recognise(random_blobs(name, n_classes)) == (same.get(name, name), n_classes)


def test_unknown_network_is_told_the_nearest() -> None:
    blobs = random_blobs("amten-3", 5)
    del blobs["conv2_2"]
    with pytest.raises(WeightsError, match="nearest is amten-3: missing layers 'conv2_2'"):
        recognise(blobs)


def test_name_given_overrides_what_is_recognised(tmp_path: Path) -> None:
    path = save(tmp_path / "a.caffemodel", random_blobs("amtennet", 5))
    assert foreign_weights(path).network == "amtennet"
    weights = foreign_weights(path, "AMTENnet_7")
    assert (weights.network, weights.n_classes) == ("amtennet-7", 5)
    with pytest.raises(WeightsError, match=r"a\.caffemodel: these weights do not fit ModelBase"):
        foreign_weights(path, "model-base")
    with pytest.raises(UnknownNameError):
        foreign_weights(path, "amtennet-9")


@pytest.mark.golden
def test_amtennet_gives_caffes_activations(data: Path) -> None:
    golden = data / "golden/caffe-amtennet"
    weights = foreign_weights(golden / "snap_iter_120.caffemodel")
    assert (weights.network, weights.n_classes) == ("amtennet", 2)
    assert network_named(weights.network).size == 128
    assert weights.facts["file"] == "snap_iter_120.caffemodel"
    net: Any = build_blank("amtennet", 2).eval()
    net.load_state_dict(weights.state, strict=True)
    found: dict[str, Any] = {}
    for name in ("scale4", "scale5", "scale6", "relu7", "fc_net_2"):
        net.get_submodule(name).register_forward_hook(
            lambda _module, _input, output, name=name: found.__setitem__(name, output)
        )
    datums = (decode_datum(value) for _, value in LmdbReader(golden / "val_lmdb").items())
    planes = [np.frombuffer(d.data, np.uint8).reshape(3, 128, 128) for d in datums]
    images = torch.from_numpy(np.stack(planes).astype(np.float32))
    with torch.inference_mode():
        found["diff"], found["concat_2_diff"] = net.traces(images[:4]), net.front(images[:4])
        logits = net(images)
    found["pool7"] = found.pop("relu7")  # in place in Caffe
    expected = np.load(golden / "activations_iter_120.npz")
    assert len(logits) == len(expected["logits"]) == 80
    assert np.abs(logits.numpy() - expected["logits"]).max() <= 1e-5
    for name in ("diff", "concat_2_diff", "scale4", "scale5", "scale6", "pool7", "fc_net_2"):
        theirs = expected[name]
        error = np.abs(found[name][:4].numpy() - theirs).max() / np.abs(theirs).max()
        assert error <= 1e-5, name


# Keras


def pictures(data: Path, files: Any) -> Iterator[Any]:
    for file in files:
        with Pillow.open(data / "data" / str(file)) as image:
            small = image.convert("RGB").resize((256, 256), Pillow.Resampling.NEAREST)
        yield np.asarray(small, np.float32).transpose(2, 0, 1) / 255


def keras_output(net: Any, images: Any) -> Any:
    with torch.inference_mode():
        logits = net(torch.from_numpy(np.ascontiguousarray(images)))
    assert not logits[:, 0].any()  # (0, z)
    return logits.softmax(1)[:, 1].numpy()


MESO = (
    ("Meso4_DF", "meso4"),
    ("Meso4_F2F", "meso4"),
    ("MesoInception_DF", "mesoinception4"),
    ("MesoInception_F2F", "mesoinception4"),
)


@pytest.fixture(scope="module")
def faces(data: Path) -> tuple[list[str], Any]:
    """Return the names of Keras's faces, and their pixels (N, 3, 256, 256) in 0..1."""
    files = [str(file) for file in np.load(data / "golden/mesonet/predictions.npz")["files"]]
    return files, np.stack(list(pictures(data, files)))


@pytest.mark.golden
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("stem", "name"), MESO)
def test_meso_gives_the_probabilities_of_keras(
    data: Path, faces: tuple[list[str], Any], stem: str, name: str, step: int
) -> None:
    golden = data / "golden/mesonet"
    weights = foreign_weights(golden / f"{stem}.h5")
    assert (weights.network, weights.n_classes) == (name, 2)
    assert network_named(weights.network).size == 256
    net = build_blank(name, 2).eval()
    net.load_state_dict(weights.state, strict=True)
    expected = np.load(golden / "predictions.npz")
    files, images = (part[::step] for part in faces)
    found = keras_output(net, images)
    assert np.abs(found - expected[stem][::step]).max() <= 1e-4
    if stem == "Meso4_DF":  # the second logit is for real
        assert found[["real-mesonet" in file for file in files]].mean() > 0.8
        assert found[["fake-deepfakes-mesonet" in file for file in files]].mean() < 0.2
    noise = np.random.default_rng(0).random((8, 256, 256, 3), dtype=np.float32)
    found = keras_output(net, noise.transpose(0, 3, 1, 2))
    assert np.abs(found - expected[f"{stem}_random"]).max() <= 1e-4


@pytest.mark.golden
def test_a_converted_meso_scores_files_as_keras(data: Path, tmp_path: Path) -> None:
    golden = data / "golden/mesonet"
    convert([golden / "Meso4_DF.h5"], tmp_path / "run")
    detector = load_network(tmp_path / "run", torch.device("cpu"))
    assert detector.run.input.filter == "pillow-nearest"
    expected = np.load(golden / "predictions.npz")
    images = (decode(read_bytes(data / "data" / str(file))) for file in expected["files"])
    found = np.array([each[1] for each in detector.probabilities(images)])
    assert np.abs(found - expected["Meso4_DF"]).max() <= 1e-4


@pytest.fixture
def meso4_file(tmp_path: Path) -> Path:
    """Return a file laid out as Meso4_DF.h5 is."""
    path = tmp_path / "meso.h5"
    kernels = ((3, 3, 3, 8), (5, 5, 8, 8), (5, 5, 8, 16), (5, 5, 16, 16))
    with h5py.File(path, "w") as file:
        for number, kernel in enumerate(kernels, 9):  # 9, 10: not in the order of the alphabet
            layer, norm = f"conv2d_{number}", f"batch_normalization_{number}"
            file[f"{layer}/{layer}/kernel:0"] = np.full(kernel, number, np.float32)
            file[f"{layer}/{layer}/bias:0"] = np.zeros(kernel[-1], np.float32)
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                file[f"{norm}/{norm}/{name}:0"] = np.ones(kernel[-1], np.float32)
        for layer, shape in (("dense", (1024, 16)), ("dense_1", (16, 1))):
            file[f"{layer}/{layer}/kernel:0"] = np.ones(shape, np.float32)
            file[f"{layer}/{layer}/bias:0"] = np.ones(shape[1], np.float32)
    return path


def test_keras_layers_are_taken_in_the_order_of_their_numbers(meso4_file: Path) -> None:
    name, state = read_keras_meso(meso4_file)
    assert name == "meso4"
    assert [int(state[f"block{n}.conv.weight"].mean()) for n in (1, 2, 3, 4)] == [9, 10, 11, 12]


KERNEL = "conv2d_10/conv2d_10/kernel:0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: None, "is missing"),
        (lambda f: f.create_dataset(KERNEL, (1 << 40, 1 << 20), "f4"), "expected (5, 5, 8, 8)"),
        (lambda f: f.create_dataset(KERNEL, (5, 5, 8, 8), "i4"), "type int32"),
        (lambda f: f.create_dataset(KERNEL, (5, 5, 8, 8), "f4", chunks=True), "contiguously"),
        (
            lambda f: f.create_dataset(
                KERNEL, (5, 5, 8, 8), "f4", external=[("/dev/zero", 0, 6400)]
            ),
            "contiguously",
        ),
        (
            lambda f: f.create_dataset(KERNEL, data=np.full((5, 5, 8, 8), np.nan, np.float32)),
            "NaN",
        ),
        (lambda f: f.__setitem__(KERNEL, h5py.SoftLink("/elsewhere")), "or a link"),
        (lambda f: f.__setitem__(KERNEL, h5py.ExternalLink("/etc/x.h5", "/x")), "or a link"),
        (lambda f: f.create_group("conv2d_99"), "5 conv2d"),
        (lambda f: f.create_group(KERNEL), "shape None"),
    ],
    ids=[
        "missing", "huge", "integers", "chunked", "external", "nan", "soft link", "external link",
        "one layer more", "group",
    ],
)  # fmt: skip
def test_hostile_keras_file_is_refused(meso4_file: Path, change: Any, message: str) -> None:
    with h5py.File(meso4_file, "a") as file:
        del file[KERNEL]
        change(file)
    with pytest.raises(WeightsError) as raised:
        foreign_weights(meso4_file)
    assert message in str(raised.value)


def test_keras_weights_for_another_network_are_refused(meso4_file: Path) -> None:
    assert foreign_weights(meso4_file, "Meso-4").network == "meso4"
    with pytest.raises(
        WeightsError, match="must be meso4, whose weights these are, got mesoinception4"
    ):
        foreign_weights(meso4_file, "mesoinception4")


def test_damaged_keras_files_are_refused(data: Path, tmp_path: Path) -> None:
    whole = (data / "golden/mesonet/Meso4_DF.h5").read_bytes()
    path = tmp_path / "cut.h5"
    for n_bytes in (8, 100, 4000, 90_000, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(WeightsError, match="Give one of the four"):
            foreign_weights(path)


def test_keras_weights_without_h5py_name_the_extra(
    meso4_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r'pip install -e "\.\[keras-import\]"'):
        foreign_weights(meso4_file)


# Anything else


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"\x08\x07 something")
    with pytest.raises(WeightsError, match=r"unknown format. Caffe's \.caffemodel, the \.h5 of"):
        foreign_weights(path)
    with pytest.raises(WeightsError, match="no such file"):
        foreign_weights(tmp_path / "none.caffemodel")
