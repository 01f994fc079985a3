"""Weights in files of PyTorch: those that torchvision publishes, and files that only look so."""

import os
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import Result
from makers.backbones import THEIRS, redrawn
from makers.networks import thin
from makers.trainings import native_corpus, request_of
from torch import Tensor, nn

from hffkit.errors import WeightsError
from hffkit.interop.weights import foreign_weights
from hffkit.manifest.classes import numbered
from hffkit.networks.table import build, build_blank, network_named
from hffkit.runs.run import read_run
from hffkit.runs.weights import read_weights
from hffkit.training.initial import initial_weights
from hffkit.training.train import train

Run = Callable[..., Result]
State = dict[str, Tensor]
NORM = ("weight", "bias", "running_mean", "running_var")


def resnet18_names() -> Iterator[str]:
    """The names in torchvision's resnet18-5c106cde.pth, in their order."""

    def pair(conv: str, norm: str) -> Iterator[str]:
        yield f"{conv}.weight"
        yield from (f"{norm}.{part}" for part in NORM)

    yield from pair("conv1", "bn1")
    for layer in range(1, 5):
        for block in range(2):
            for number in (1, 2):
                start = f"layer{layer}.{block}"
                yield from pair(f"{start}.conv{number}", f"{start}.bn{number}")
            if layer > 1 and block == 0:
                yield from pair(f"{start}.downsample.0", f"{start}.downsample.1")
    yield from ("fc.weight", "fc.bias")


def densenet121_names() -> Iterator[str]:
    """Those in densenet121-a639ec97.pth: denselayer1.norm.1, where today's say norm1."""

    def norm(name: str) -> Iterator[str]:
        return (f"features.{name}.{part}" for part in NORM)

    yield "features.conv0.weight"
    yield from norm("norm0")
    for block, n_layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, n_layers + 1):
            for number in (1, 2):
                start = f"denseblock{block}.denselayer{layer}"
                yield from norm(f"{start}.norm.{number}")
                yield f"features.{start}.conv.{number}.weight"
        if block < 4:
            yield from norm(f"transition{block}.norm")
            yield f"features.transition{block}.conv.weight"
    yield from norm("norm5")
    yield from ("classifier.weight", "classifier.bias")


def efficientnet_b0_names() -> Iterator[str]:
    """Those in efficientnet_b0_rwightman-7f5810bc.pth, which counts the batches too."""

    def pair(start: str) -> Iterator[str]:
        yield f"features.{start}.0.weight"
        yield from (f"features.{start}.1.{part}" for part in (*NORM, "num_batches_tracked"))

    yield from pair("0")
    for stage, n_blocks in enumerate((1, 2, 2, 3, 3, 4, 1), 1):
        for number in range(n_blocks):
            start = f"{stage}.{number}.block"
            wide = 0 if stage == 1 else 1  # all but the first stage expand first
            yield from (name for place in range(wide + 1) for name in pair(f"{start}.{place}"))
            for part in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
                yield f"features.{start}.{wide + 1}.{part}"
            yield from pair(f"{start}.{wide + 2}")
    yield from pair("8")
    yield from ("classifier.1.weight", "classifier.1.bias")


NAMES = {
    "resnet18": resnet18_names,
    "densenet121": densenet121_names,
    "efficientnet-b0": efficientnet_b0_names,
}


def theirs(name: str) -> tuple[nn.Module, State]:
    """Return a network of pytorchcv, and its tensors under the names of torchvision's file."""
    module, function = THEIRS[name]
    model = getattr(pytest.importorskip(f"pytorchcv.models.{module}"), function)
    net = redrawn(model(pretrained=False))
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-5
    names = list(NAMES[name]())
    counts = any(each.endswith("num_batches_tracked") for each in names)
    values = [v for k, v in net.state_dict().items() if counts or not k.endswith("batches_tracked")]
    return net, dict(zip(names, values, strict=True))


@pytest.fixture
def _thin() -> Iterator[None]:
    with thin():
        yield


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet18") / "resnet18.pth"
    torch.save(theirs("resnet18")[1], path)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != "resnet18"),
    ],
)
@torch.no_grad()
def test_published_files_compute_what_they_do_elsewhere(name: str, tmp_path: Path) -> None:
    net, state = theirs(name)
    path = tmp_path / "published.pth"
    # Files from before PyTorch 1.6 are no ZIP archives; most of torchvision's are such.
    torch.save(state, path, _use_new_zipfile_serialization=name == "efficientnet-b0")
    found = foreign_weights(path, name)
    assert (found.network, found.n_classes) == (name, 1000)
    assert network_named(found.network).size == 224
    ours = build_blank(name, 1000, 224)
    ours.load_state_dict(found.state)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours.eval()(images), net(images), rtol=1e-4, atol=1e-4)


def test_published_vgg_fits_to_its_last_layer(tmp_path: Path) -> None:
    # Tensors of one value take no space in a file; the shapes are those of vgg11_bn-6002323d.pth.
    shapes: dict[str, tuple[int, ...]] = {
        "classifier.0.weight": (4096, 25088), "classifier.0.bias": (4096,),
        "classifier.3.weight": (4096, 4096), "classifier.3.bias": (4096,),
        "classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,),
    }  # fmt: skip
    channels = 3
    for place, maps in zip((0, 4, 8, 11, 15, 18, 22, 25), (64, 128, *[256] * 2, *[512] * 4),
                           strict=True):  # fmt: skip
        shapes |= {f"features.{place}.weight": (maps, channels, 3, 3)}
        shapes |= {f"features.{place}.bias": (maps,)}
        shapes |= {f"features.{place + 1}.{part}": (maps,) for part in NORM}
        channels = maps
    state = {k: torch.tensor(float(i)).expand(shape) for i, (k, shape) in enumerate(shapes.items())}
    torch.save(state, tmp_path / "vgg.pth")
    assert (tmp_path / "vgg.pth").stat().st_size < 100_000
    found = foreign_weights(tmp_path / "vgg.pth", "vgg11-bn")
    assert found.n_classes == 1000
    assert {k: v.shape for k, v in found.state.items() if "tracked" not in k} == shapes
    assert all(float(found.state[k].flatten()[-1]) == i for i, k in enumerate(shapes))


def test_training_begins_with_a_published_file_but_for_the_last_layer(
    run: Run, resnet18: Path, tmp_path: Path
) -> None:
    data = native_corpus(tmp_path, {"train": 2, "val": 1})
    words = ("--network", "resnet18", "--set", "size=48", "--max-iterations", 0, "--device", "cpu")
    done = run("train", "--data", data, "--init", resnet18, "--out", tmp_path / "run", *words)
    assert done.exit_code == 0, done.output
    init = read_run(tmp_path / "run").made["init"]
    assert init["not_taken"] == ["fc.bias", "fc.weight"]
    assert (init["path"], init["format"]) == (str(resnet18), "pytorch")
    kept, published = read_weights(tmp_path / "run"), torch.load(resnet18, weights_only=True)
    assert kept["fc.weight"].shape == (3, 512)
    assert [k for k, v in published.items() if k[:2] != "fc" and not torch.equal(kept[k], v)] == []


def test_the_last_layer_of_imagenet_is_taken_for_no_faces(resnet18: Path) -> None:
    net = build("resnet18", 1000)
    own = net.state_dict()["fc.weight"].clone()
    classes = numbered(fake=[f"generator {n}" for n in range(999)], real=["camera"])
    found = initial_weights(net, resnet18, "resnet18", classes)
    assert found["not_taken"] == ["fc.bias", "fc.weight"]
    assert torch.equal(net.state_dict()["fc.weight"], own)


def test_a_last_layer_of_as_many_classes_is_taken(tmp_path: Path) -> None:
    state = build("efficientnet-b0", 3).state_dict()
    torch.save({"epoch": 3, "model": state, "history": [0.5]}, tmp_path / "0003.pth")  # the study's
    data = native_corpus(tmp_path, {"train": 2, "val": 1})
    request = request_of(
        data, network="efficientnet-b0", init=tmp_path / "0003.pth", max_iterations=0
    )
    _, made = train(request, tmp_path / "run")
    assert made.made["init"]["not_taken"] == []
    last = "classifier.1.weight"
    assert torch.equal(read_weights(tmp_path / "run")[last], state[last])


def test_checkpoints_of_the_study_become_runs(run: Run, tmp_path: Path) -> None:
    state = build("meso4", 2).state_dict()
    torch.save({"epoch": 3, "model": state}, tmp_path / "0003.pth")
    words = ("convert", tmp_path / "0003.pth", "--network", "meso4")
    done = run(*words, "--outputs", "fake,real", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert read_run(tmp_path / "run").classes.names == ("fake", "real")
    kept = read_weights(tmp_path / "run")
    assert all(torch.equal(kept[name], value) for name, value in state.items())
    unnamed = run(*words, "--out", tmp_path / "x")
    assert unnamed.exit_code == 2
    assert "--outputs must name the 2 outputs in the file's order" in unnamed.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("--outputs", "real,fake"), [1, 0]),
        (("--outputs", "pristine,swapped", "--real", "pristine", "--fake", "swapped"), [1, 0]),
        (("--outputs", "GAN,camera", "--real", "camera", "--fake", "GAN"), [0, 1]),
        (("--outputs", "fake", "--outputs", "real"), [0, 1]),
        (("--outputs", "camera,GAN,film,Glow", "--real", "film,camera", "--fake", "GAN,Glow"),
         [1, 3, 0, 2]),
    ],
)  # fmt: skip
def test_outputs_are_named_in_their_own_order(
    run: Run, tmp_path: Path, names: tuple[str, ...], order: list[int]
) -> None:
    net = build("meso4", len(order)).eval()
    torch.save(net.state_dict(), tmp_path / "x.pth")
    done = run("convert", tmp_path / "x.pth", "--network", "meso4", *names, "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    made = read_run(tmp_path / "r")
    given = ",".join(names[1::2][: 2 if names[2:3] == ("--outputs",) else 1]).split(",")
    assert made.classes.names == tuple(given[place] for place in order)
    n_fake = len(order) // 2
    assert [row.is_fake for row in made.classes] == [True] * n_fake + [False] * n_fake
    other = build("meso4", len(order)).eval()
    other.load_state_dict(read_weights(tmp_path / "r"))
    images = torch.rand(2, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(other(images), net(images)[:, order])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("real",), "must name the 2 outputs of the file, got 1 names"),
        (("a,real",), "name 'a' in --outputs and in either --fake or --real"),
        (("a,b", "--fake", "a", "--real", "c"), "name 'b' in --outputs and in either"),
        (("a,b", "--fake", "a,b", "--real", "b"), "name 'b' in --outputs and in either"),
        (("a,b", "--fake", "a,b"), "--outputs must have a fake one and a real one"),
        (("fake,real", "--fake", "x", "--real", "real"), "name 'x' in --outputs and in either"),
    ],
)
def test_outputs_that_are_not_all_named_are_refused(
    run: Run, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    torch.save(build("meso4", 2).state_dict(), tmp_path / "x.pth")
    words = ("convert", tmp_path / "x.pth", "--network", "meso4", "--out", tmp_path / "r")
    done = run(*words, "--outputs", *names)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.usefixtures("_thin")
def test_outputs_computed_from_one_distance_have_one_order(run: Run, tmp_path: Path) -> None:
    state = build("mml", 2).state_dict()
    torch.save(state, tmp_path / "mml.pth")
    words = ("convert", tmp_path / "mml.pth", "--network", "mml", "--out", tmp_path / "r")
    done = run(*words, "--outputs", "real,fake")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--outputs must be fake,real: mml computes both from one distance" in done.stderr
    assert run(*words, "--outputs", "fake,real").exit_code == 0
    kept = read_weights(tmp_path / "r")
    assert all(torch.equal(kept[name], value) for name, value in state.items())


def test_safetensors_and_halves_are_read_as_well(tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v
             for k, v in build("resnet18", 2).state_dict().items()}  # fmt: skip
    safetensors.torch.save_file(state, tmp_path / "resnet18.safetensors")
    found = foreign_weights(tmp_path / "resnet18.safetensors", "resnet18")
    assert found.facts["format"] == "safetensors"
    assert all(found.state[k].dtype == torch.float32 for k in state if "tracked" not in k)
    assert all(torch.equal(found.state[name], value.to(found.state[name].dtype))
               for name, value in state.items())  # fmt: skip


class Code:
    """What writes a file as soon as its pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path: Path, kind: str) -> None:
    path, made = tmp_path / "weights.pth", tmp_path / "executed"
    value = {"fc.weight": Code(made)}
    if kind == "plain":
        path.write_bytes(pickle.dumps(value, protocol=2))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match=r"weights\.pth: .*(posix\.mkdir|no file of PyTorch)"):
        foreign_weights(path, "resnet18")
    assert not made.exists()
    torch.load(path, weights_only=False) if kind != "plain" else pickle.loads(path.read_bytes())
    assert made.exists()  # so it would have been


def test_a_whole_network_in_a_pickle_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"holds torch\.nn.*Linear.*torch\.save\(net\.state_d"):
        foreign_weights(tmp_path / "net.pth", "resnet18")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "no state dict"),
        ({}, "no state dict"),
        ({"a": 1}, "'a' is no tensor"),
        (
            {"fc.weight": torch.zeros(2, 512)},
            r"another network than resnet18: it lacks 'bn1\.bias'",
        ),
        ({"fc.weight": torch.zeros(())}, "another network than resnet18"),
        ({"_conv_stem.weight": torch.zeros(1)}, "weights of efficientnet_pytorch, which pads"),
        ({"a": torch.zeros(1, device="meta")}, "'a' is no tensor"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "'a' is no tensor"),
    ],
)
def test_what_is_no_state_dict_of_the_network_is_refused(
    tmp_path: Path, value: Any, message: str
) -> None:
    torch.save(value, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth: .*{message}"):
        foreign_weights(tmp_path / "x.pth", "resnet18")


def test_weights_of_another_network_or_of_no_numbers_are_refused(
    resnet18: Path, tmp_path: Path
) -> None:
    for name in ("vgg11-bn", "amtennet"):
        with pytest.raises(WeightsError, match=rf"resnet18\.pth: .*another network than {name}"):
            foreign_weights(resnet18, name)
    with pytest.raises(WeightsError, match="must be given for a state dict"):
        foreign_weights(resnet18)
    state = torch.load(resnet18, weights_only=True)
    state["conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"nan\.pth: conv1\.weight holds NaN"):
        foreign_weights(tmp_path / "nan.pth", "resnet18")
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "grey.pth")
    with pytest.raises(WeightsError, match=r"conv1\.weight is \[64, 1, 7, 7\], not \[64, 3, 7, 7"):
        foreign_weights(tmp_path / "grey.pth", "resnet18")


@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_files_are_refused_by_name(tmp_path: Path, *, is_zip: bool) -> None:
    path = tmp_path / "broken.pth"
    torch.save(
        {"a": torch.zeros(50), "b": torch.ones(7)}, path, _use_new_zipfile_serialization=is_zip
    )
    whole, rng = path.read_bytes(), random.Random(0)
    for n in (0, 1, 8, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(WeightsError, match=r"broken\.pth: damaged, or no file of PyTorch"):
            foreign_weights(path, "resnet18")
    for _ in range(60):  # flipped bits, which may still be a state dict: of no network
        bytes_ = bytearray(whole)
        for _ in range(4):
            bytes_[rng.randrange(len(bytes_))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes_)
        with pytest.raises(WeightsError, match=r"broken\.pth: "):
            foreign_weights(path, "resnet18")
