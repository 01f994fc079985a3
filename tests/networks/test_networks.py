"""Networks against the published figures, and against other ways of computing them."""

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from makers.networks import thin
from torch import Tensor, nn
from torch.nn import functional

from hffkit.errors import ArgumentError, UnknownNameError
from hffkit.networks.amten import AmtenNet, ModelBase
from hffkit.networks.caffe import BatchNorm, Scale, average_pool, max_pool
from hffkit.networks.constraint import ConstrainedConv2d, project
from hffkit.networks.meso import Meso4, MesoInception4
from hffkit.networks.mislnet import MislNet
from hffkit.networks.names import NAMES, PAIRED, canonical_name, check_layers_by_weights
from hffkit.networks.residual import HAND_CRAFTED, SRM, FixedFilters
from hffkit.networks.spec import InputSpec
from hffkit.networks.table import (
    NETWORKS,
    build,
    build_blank,
    head_of,
    network_named,
)

EACH_NETWORK = [  # that of 129 million parameters is for the long tests
    pytest.param(name, marks=pytest.mark.slow) if name == "vgg11-bn" else name for name in NETWORKS
]
SMALL = 44  # px, of which the last layers of each network have maps
FROZEN = {"conv1.bias": 3, "convF.bias": 3, "residual.bias": 3}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads of such small tensors wait for each other for longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def counted(net: nn.Module) -> tuple[int, int]:
    """Return the numbers of parameters and of those that learn."""
    sizes = [(p.numel(), p.requires_grad) for p in net.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)


def n_classes_of(name: str) -> int:
    """Return three classes, or two for what tells fake from real alone."""
    return 2 if name == "mml" else 3


@cache
def on_meta(name: str, n_classes: int, size: int) -> nn.Module:
    with torch.device("meta"):
        return build_blank(name, n_classes, size)


def outputs(net: nn.Module, images: Tensor, *names: str) -> list[Tensor]:
    """Return what the named layers gave, in the order of `names`."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        net.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output: seen.__setitem__(name, output)
        )

    for name in names:
        keep(name)
    net(images)
    return [seen[name] for name in names]


def sides(name: str, size: int, *layers: str) -> list[int]:
    net = on_meta(name, 2, size).eval()
    return [
        x.shape[-1] for x in outputs(net, torch.empty(1, 3, size, size, device="meta"), *layers)
    ]


def built(name: str, size: int = SMALL) -> nn.Module:
    """Return a network of random weights, with few maps where their number is not the subject."""
    with thin():
        return build(name, n_classes_of(name), size)


def trained(name: str, size: int = 64) -> tuple[nn.Module, Tensor]:
    """Return a network in eval mode, whose statistics have seen its four images."""
    torch.manual_seed(7)
    net, images = built(name, size), torch.rand(4, 3, size, size)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net(images)
    return net.eval(), images


@pytest.mark.parametrize(
    ("name", "n_classes", "size", "total", "frozen"),
    [
        ("amtennet", 2, 128, 2_023_050, 3),
        ("amtennet", 5, 128, 2_023_953, 3),
        ("amtennet", 8, 128, 2_024_856, 3),
        ("amtennet-freu15", 8, 128, 2_025_504, 3),
        ("amten-1", 8, 128, 2_024_772, 0),
        ("amten-1b", 8, 128, 2_024_856, 3),
        ("amten-2", 8, 128, 2_023_398, 3),
        ("amten-3", 8, 128, 2_023_797, 3),
        ("amten-4", 8, 128, 2_027_460, 3),
        ("amten-5", 8, 128, 2_025_000, 3),
        ("amten-6", 8, 128, 2_024_442, 3),
        ("amtennet-7", 8, 128, 2_024_856, 3),
        ("amtennet-8", 8, 128, 1_591_192, 3),
        ("amtennet-8-padded", 8, 128, 2_090_392, 3),
        ("model-base", 2, 128, 2_020_194, 0),
        ("model-base", 5, 128, 2_021_097, 0),
        ("model-base", 8, 128, 2_022_000, 0),
        ("handcrafted-res-model-base", 8, 128, 2_022_000, 0),
        ("constrained-conv-model-base", 8, 128, 2_022_228, 3),
        ("srm-model-base", 8, 128, 2_022_000, 0),
        ("meso4", 1, 256, 27_977, 0),
        ("meso4", 2, 256, 27_994, 0),
        ("meso4", 5, 256, 28_045, 0),
        ("meso4", 8, 256, 28_096, 0),
        ("meso4", 1, 128, 15_689, 0),
        ("meso4", 2, 128, 15_706, 0),
        ("meso4", 5, 128, 15_757, 0),
        ("meso4", 8, 128, 15_808, 0),
        ("mesoinception4", 1, 256, 28_615, 0),
        ("mesoinception4", 1, 128, 16_327, 0),
        ("mesoinception4", 2, 128, 16_344, 0),
        ("mesoinception4", 5, 128, 16_395, 0),
        ("mesoinception4", 8, 128, 16_446, 0),
        ("handcrafted-res", 2, 128, 34_174_530, 0),
        ("handcrafted-res", 5, 128, 34_176_069, 0),
        ("handcrafted-res", 8, 128, 34_177_608, 0),
        ("handcrafted-res", 2, 256, 134_837_826, 0),
        ("mislnet", 2, 128, 550_790, 3),
        ("mislnet", 5, 128, 551_393, 3),
        ("mislnet", 8, 128, 551_996, 3),
        ("xception", 1000, 299, 22_855_952, 0),
        ("xception", 2, 299, 20_811_050, 0),
        ("xception", 5, 299, 20_817_197, 0),
        ("xception", 8, 128, 20_823_344, 0),
        ("mml", 2, 299, 28_384_176, 0),
        ("resnet18", 2, 224, 11_177_538, 0),
        ("resnet18", 1000, 224, 11_689_512, 0),
        ("vgg11-bn", 2, 224, 128_780_034, 0),
        ("densenet121", 2, 224, 6_955_906, 0),
        ("densenet121", 1000, 224, 7_978_856, 0),
        ("efficientnet-b0", 2, 224, 4_010_110, 0),
        ("efficientnet-b0", 1000, 224, 5_288_548, 0),
    ],
)
def test_networks_have_as_many_parameters_as_published(
    name: str, n_classes: int, size: int, total: int, frozen: int
) -> None:
    net = on_meta(name, n_classes, size)
    assert counted(net) == (total, total - frozen)


def test_mislnet_for_one_channel_has_as_many_parameters_as_the_authors() -> None:
    with torch.device("meta"):
        assert counted(MislNet(6, 256, channels=1))[0] == 1_575_444


def test_amtennet_holds_as_many_numbers_as_its_caffemodel() -> None:
    net = on_meta("amtennet", 2, 128)
    assert sum(x.numel() for x in net.state_dict().values()) == 2_023_325
    amten = [p for name, p in net.named_parameters() if name[:5] in {"conv1", "conv2", "conv3"}]
    assert sum(p.numel() for p in amten) == 912
    assert sum(p.numel() for p in amten if p.requires_grad) == 909


@pytest.mark.parametrize("name", ["handcrafted-res-model-base", "srm-model-base"])
def test_fixed_kernels_are_stored_but_are_no_parameters(name: str) -> None:
    net = on_meta(name, 2, 128)
    assert "residual.weight" in net.state_dict()
    assert "residual.weight" not in dict(net.named_parameters())


def test_meso4_has_96_statistics() -> None:
    net = on_meta("meso4", 2, 128)
    assert sum(x.numel() for name, x in net.named_buffers() if "running" in name) == 96


def golden_net() -> tuple[AmtenNet, Tensor]:
    """Return AMTENnet with the made-up weights of the specification, and its image."""
    net = AmtenNet(2, 128).double()
    names = (
        "conv1",
        "conv2_1",
        "conv2_2",
        "conv3_1",
        "conv3_2",
        "conv4",
        "conv5",
        "conv6",
        "conv7",
    )
    for s, name in enumerate(names, 1):
        weight = net.get_parameter(f"{name}.weight")
        i = torch.arange(1, weight.numel() + 1, dtype=torch.float64)
        weight.data = (torch.sin(s * i) / math.sqrt(weight[0].numel())).view_as(weight)
    for number in (4, 5, 6):
        net.add_module(f"conv{number}/bn", nn.Identity())
        net.add_module(f"scale{number}", nn.Identity())
    image = (7 * torch.arange(3 * 128 * 128)) % 256
    assert int(image.sum()) == 6_266_880
    return net, image.double().view(1, 3, 128, 128)


@pytest.mark.golden
@torch.no_grad()
def test_amtennet_gives_the_golden_numbers() -> None:
    net, image = golden_net()
    assert net.traces(image).mean().item() == pytest.approx(-128.40220509149256, rel=1e-12)
    front = net.front(image)
    assert front.mean().item() == pytest.approx(-33.15504494152252, rel=1e-12)
    assert front.abs().max().item() == pytest.approx(293.74752923785434, rel=1e-12)
    relu4, relu7 = outputs(net, image, "relu4", "relu7")
    assert relu4.mean().item() == pytest.approx(20.57829456205631, rel=1e-12)
    assert relu7.shape == (1, 128, 7, 7)


def test_variants_rewire_amten_as_the_table_of_the_paper_says() -> None:
    def front(name: str) -> tuple[nn.Module, Tensor, Tensor]:
        net = build(name, 2, 32)
        assert isinstance(net, AmtenNet)
        return net, net.traces(image), net.front(image)

    def through(net: nn.Module, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = net.get_submodule(name)(x)
        return x

    image = torch.rand(2, 3, 32, 32)
    for name in ("amten-1", "amten-1b", "amten-3", "amten-5", "amtennet-freu15"):
        net, traces, found = front(name)
        if name == "amten-1":
            assert torch.equal(traces, image)
        else:
            shift = 0 if name == "amten-1b" else image
            assert torch.equal(traces, through(net, image, "conv1") - shift)
        first = torch.cat((through(net, traces, "conv2_1", "conv2_2"), traces), 1)
        second = through(net, first, "conv3_1", "conv3_2")
        parts = (second, traces, first) if name == "amtennet-freu15" else (second, first)
        assert torch.equal(found, torch.cat(parts, 1)), name
    net, traces, found = front("amten-2")
    assert torch.equal(found, through(net, traces, "conv2_1", "conv2_2", "conv3_1", "conv3_2"))
    net, traces, found = front("amten-6")
    first = torch.cat((through(net, traces, "conv2_1"), traces), 1)
    assert torch.equal(found, torch.cat((through(net, first, "conv3_1"), first), 1))


def pooled_by_hand(x: np.ndarray, *, largest: bool) -> np.ndarray:
    """Return Caffe's pooling 3x3, stride 2, of a square: windows are cut at the edge."""
    n = math.ceil((len(x) - 3) / 2) + 1
    windows = [[x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for j in range(n)] for i in range(n)]
    return np.array([[w.max() if largest else w.mean() for w in row] for row in windows])


@pytest.mark.parametrize("size", [128, 62, 29, 14, 126, 63, 31, 15])
def test_pools_round_up_and_cut_their_windows(size: int) -> None:
    x = np.random.default_rng(size).normal(size=(size, size))
    images = torch.from_numpy(x)[None, None]
    found = [pool()(images)[0, 0].numpy() for pool in (max_pool, average_pool)]
    assert np.array_equal(found[0], pooled_by_hand(x, largest=True))
    np.testing.assert_allclose(found[1], pooled_by_hand(x, largest=False), rtol=1e-12, atol=1e-14)


def test_batch_norm_keeps_the_three_blobs_of_caffe() -> None:
    rng = np.random.default_rng(3)
    layer = BatchNorm(2)
    s, sum_mean, sum_var = 0.0, np.zeros(2), np.zeros(2)
    for step in range(20):
        batch = rng.normal((3, -1), (2, 0.5 + step / 10), (4 + step % 3, 5, 6, 2))
        found = layer(torch.from_numpy(batch).float().permute(0, 3, 1, 2))
        values = batch.reshape(-1, 2)
        mean, var = values.mean(0), values.var(0)
        s = 0.999 * s + 1
        sum_mean = 0.999 * sum_mean + mean
        sum_var = 0.999 * sum_var + var * len(values) / (len(values) - 1)
        expected = (batch - mean) / np.sqrt(var + 1e-5)
        np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert float(layer.scale_factor) == pytest.approx(s, rel=1e-6)
    np.testing.assert_allclose(layer.running_mean.numpy(), sum_mean / s, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), sum_var / s, rtol=1e-5)
    tested = layer.eval()(torch.ones(1, 2, 1, 1)).flatten().numpy()
    np.testing.assert_allclose(tested, (1 - sum_mean / s) / np.sqrt(sum_var / s + 1e-5), rtol=1e-5)


def test_batch_norm_is_right_from_its_first_step_where_that_of_torch_lags() -> None:
    caffe, torchs = BatchNorm(1), nn.BatchNorm2d(1, momentum=0.001)
    fives = torch.full((2, 1, 2, 2), 5.0)
    for _ in range(1000):
        caffe(fives)
        torchs(fives)
    assert caffe.running_mean.item() == pytest.approx(5.0, abs=1e-4)
    assert torchs.running_mean is not None
    assert torchs.running_mean.item() == pytest.approx(3.16, abs=0.005)


def test_batch_norm_has_the_gradient_of_batch_normalisation() -> None:
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    seed = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    ours, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    BatchNorm(3)(ours).backward(seed)
    mean = other.mean((0, 2, 3), keepdim=True)
    var = (other - mean).square().mean((0, 2, 3), keepdim=True)
    (expected,) = torch.autograd.grad((other - mean) / (var + 1e-5).sqrt(), other, seed)
    torch.testing.assert_close(ours.grad, expected, rtol=1e-4, atol=1e-6)


def test_scale_multiplies_and_shifts_each_channel() -> None:
    layer = Scale(2)
    x = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(layer(x), x)
    layer.weight.data, layer.bias.data = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert layer(x).flatten().tolist() == [0.5, 2.5, 4.5, 6.5, -1.0, -2.0, -3.0, -4.0]


def weights(net: nn.Module) -> Iterator[tuple[Tensor, int, int]]:
    """Yield each weight with its fan in and fan out."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not isinstance(layer, ConstrainedConv2d):
            area = layer.weight[0, 0].numel()
            yield layer.weight.detach(), layer.weight.shape[1] * area, layer.weight.shape[0] * area


@pytest.mark.parametrize(
    ("name", "size"),
    [("amtennet", 64), ("model-base", 64), ("mislnet", 64), ("handcrafted-res", 32), ("meso4", 64)],
)
def test_weights_are_uniform_up_to_the_bound_of_their_filler(name: str, size: int) -> None:
    torch.manual_seed(11)
    for weight, fan_in, fan_out in weights(build(name, 2, size)):
        bound = math.sqrt(6 / (fan_in + fan_out) if name == "meso4" else 3 / fan_in)
        sample = weight.flatten().double().sort().values / bound
        assert sample.abs().max() <= 1 + 1e-6
        steps = torch.arange(1, len(sample) + 1) / len(sample)
        deviation = (steps - (sample + 1) / 2).abs().max()  # Kolmogorov and Smirnov's
        assert deviation < 2.0 / math.sqrt(len(sample)) + 1 / len(sample), weight.shape


def test_biases_begin_as_their_fillers_say() -> None:
    net = build("mislnet", 2, 64)
    found = {
        name: sorted(set(p.tolist())) for name, p in net.named_parameters() if name.endswith("bias")
    }
    filled = {f"conv{number}.bias": [pytest.approx(0.1)] for number in (1, 2, 3, 4)}
    zeros = {f"{name}.bias": [0.0] for name in ("convF", "fc8", "scale1", "scale2", "scale3")}
    units = {f"{name}.bias": [1.0] for name in ("fc6", "fc7")}
    assert found == filled | zeros | units | {"scale4.bias": [0.0]}
    for name in ("amtennet", "meso4", "mesoinception4", "handcrafted-res"):
        biases = [p for key, p in build(name, 2, 32).named_parameters() if key.endswith("bias")]
        assert not any(bias.any() for bias in biases)


@pytest.mark.parametrize(("seed", "channels"), [(0, 1), (1, 3), (2, 3), (3, 3)])
def test_the_constraint_is_that_of_the_authors_script(seed: int, channels: int) -> None:
    torch.manual_seed(seed)
    layer = ConstrainedConv2d(channels, 3)
    nn.init.constant_(layer.bias, 0.7)
    expected = layer.weight.detach().double().numpy() * 10_000
    expected[:, :, 2, 2] = 0
    expected = expected / expected.reshape(3, channels, 25).sum(2)[:, :, None, None]
    expected[:, :, 2, 2] = -1
    layer.project()
    found = layer.weight.detach().double().numpy()
    assert (found[:, :, 2, 2] == -1).all()
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found.sum((2, 3)), 0, atol=1e-5 * largest)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert layer.bias.tolist() == [0, 0, 0]
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


def test_planes_without_a_sum_move_as_little_as_they_can() -> None:
    layer = ConstrainedConv2d(2, 1)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 1, 0, 0], layer.weight[0, 1, 4, 4] = 0.5, -0.5
    layer.project()
    expected = torch.full((1, 2, 5, 5), 1 / 24)
    expected[0, 1, 0, 0] += 0.5
    expected[0, 1, 4, 4] -= 0.5
    expected[:, :, 2, 2] = -1
    torch.testing.assert_close(layer.weight.detach(), expected)


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_only_constrained_networks_are_projected_and_they_are_from_the_start(name: str) -> None:
    layer = {"mislnet": "convF", "constrained-conv-model-base": "residual"}.get(name)
    with thin():
        net = (build if layer else build_blank)(name, 2, SMALL)
    constrained = [module for module in net.modules() if isinstance(module, ConstrainedConv2d)]
    assert len(constrained) == (layer is not None)
    before = {key: x.clone() for key, x in net.state_dict().items()}
    project(nn.Sequential(net))
    for key, x in net.state_dict().items():
        torch.testing.assert_close(x, before[key], rtol=1e-3, atol=1e-6, equal_nan=True)
    for p in net.parameters():
        p.data.fill_(1)
    project(nn.Sequential(net))
    changed = [key for key, x in net.named_parameters() if not (x == 1).all()]
    assert changed == ([f"{layer}.weight", f"{layer}.bias"] if layer else [])


def test_layers_have_the_published_sizes() -> None:
    pools = ("pool4", "pool5", "pool6", "pool7")
    names = ("conv4", "pool4", "conv5", "pool5", "conv6", "pool6", "conv7", "pool7")
    assert sides("amtennet", 128, *names) == [128, 64, 62, 31, 29, 14, 14, 7]
    assert sides("amtennet-7", 128, *names) == [128, 64, 62, 31, 29, 14, 14, 7]
    assert sides("amtennet-8", 128, "conv7", "pool7") == [12, 6]
    assert sides("amtennet-8-padded", 128, "conv7", "pool7") == [14, 7]
    assert sides("constrained-conv-model-base", 128, "residual", *pools) == [124, 62, 30, 14, 7]
    assert sides("srm-model-base", 128, "residual", *pools) == [128, 64, 31, 14, 7]
    assert sides("handcrafted-res-model-base", 128, "residual") == [128]
    assert sides("handcrafted-res", 128, "groups.0", "groups.1", "groups.2") == [64, 32, 16]


def test_layers_of_the_baselines_have_the_published_sizes() -> None:
    mislnet = ("convF", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4")
    assert sides("mislnet", 256, *mislnet) == [252, 126, 63, 63, 31, 31, 15, 15, 7]
    assert sides("mislnet", 128, *mislnet) == [124, 62, 31, 31, 15, 15, 7, 7, 3]
    meso = ("block1.pool", "block2.pool", "block3.pool", "block4.pool")
    assert sides("meso4", 256, *meso) == [128, 64, 32, 8]
    assert sides("mesoinception4", 256, *meso) == [128, 64, 32, 8]
    xception = ("conv1", "conv2", "block1", "block2", "block3", "block11", "block12", "conv4")
    assert sides("xception", 299, *xception) == [149, 147, 74, 37, 19, 19, 10, 10]
    assert sides("xception", 128, "block11") == [8]


def test_fixed_filters_are_derivatives_of_the_sum_of_the_channels() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    inside = (slice(None), slice(2, -2), slice(2, -2))

    def maps(plane: Tensor, filters: FixedFilters) -> Tensor:
        found: Tensor = filters(plane.expand(1, 3, 12, 12))
        return found[0][inside]

    def filled(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).view(3, 1, 1).expand(3, 8, 8)

    hand, srm = FixedFilters(HAND_CRAFTED), FixedFilters(SRM)
    close = torch.testing.assert_close
    for filters in (hand, srm):
        close(maps(torch.full((12, 12), 255.0), filters), filled(0, 0, 0), atol=1e-3, rtol=0)
    close(maps(5 * x + 2 * y, hand), filled(15, 6, 0))  # three channels of 5 a column, 2 a row
    close(maps(5 * x + 2 * y, srm), filled(0, 0, 0), atol=1e-3, rtol=0)
    close(maps(x**2 * y**2, srm)[:2], filled(-3, -6, 0)[:2], atol=2e-2, rtol=0)
    close(maps(x**2, srm), filled(0, 0, 3), atol=1e-3, rtol=0)
    close(maps(y**2, srm), filled(0, 0, 0), atol=1e-3, rtol=0)


def test_fixed_filters_see_zeros_around_the_image() -> None:
    ones = FixedFilters(HAND_CRAFTED)(torch.ones(1, 3, 4, 4))[0]
    assert ones[0].tolist() == [[0, 0, 0, -3]] * 4
    assert ones[1].tolist() == [[0] * 4] * 3 + [[-3] * 4]
    assert ones[2, 0].tolist() == [-0.75, 0, 0, -0.75]


def normalised(x: Tensor, net: nn.Module, norm: str, scale: str) -> Tensor:
    """Return Caffe's BatchNorm and Scale of `x` in eval mode."""
    state = net.state_dict()
    mean, var, gamma, beta = (
        state[name].view(-1, 1, 1)
        for name in (
            f"{norm}.running_mean",
            f"{norm}.running_var",
            f"{scale}.weight",
            f"{scale}.bias",
        )
    )
    y: Tensor = (x - mean) / (var + 1e-5).sqrt() * gamma + beta
    return y


def with_drawn_scales(name: str, size: int = 64) -> tuple[nn.Module, Tensor]:
    net, images = trained(name, size)
    for module in net.modules():
        if isinstance(module, Scale):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return net.double(), images.double()


@pytest.mark.parametrize("name", ["amtennet", "amtennet-7"])
@torch.no_grad()
def test_blocks_pool_then_rectify_then_normalise(name: str) -> None:
    net, images = with_drawn_scales(name)
    assert isinstance(net, ModelBase)
    state, x = net.state_dict(), net.front(images)
    pool = functional.avg_pool2d if name == "amtennet-7" else functional.max_pool2d
    for number, padding in ((4, 1), (5, 0), (6, 0), (7, 0)):
        weight, bias = state[f"conv{number}.weight"], state[f"conv{number}.bias"]
        x = pool(functional.conv2d(x, weight, bias, padding=padding), 3, 2, ceil_mode=True)
        x = x.clamp(min=0)
        if number < 7:
            x = normalised(x, net, f"conv{number}/bn", f"scale{number}")
    x = x.flatten(1)
    for number in range(3):
        x = x @ state[f"fc_net_{number}.weight"].T + state[f"fc_net_{number}.bias"]
    torch.testing.assert_close(net(images), x, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_mislnet_normalises_then_bends_then_pools() -> None:
    net, images = with_drawn_scales("mislnet")
    state = net.state_dict()
    x = functional.conv2d(images, state["convF.weight"])
    for number, stride, padding in ((1, 2, 3), (2, 1, 2), (3, 1, 2), (4, 1, 0)):
        weight, bias = state[f"conv{number}.weight"], state[f"conv{number}.bias"]
        x = functional.conv2d(x, weight, bias, stride=stride, padding=padding)
        x = normalised(x, net, f"bn{number}", f"scale{number}").tanh()
        pool = functional.avg_pool2d if number == 4 else functional.max_pool2d
        x = pool(x, 3, 2, ceil_mode=True)
    x = x.flatten(1)
    for number in (6, 7):
        x = (x @ state[f"fc{number}.weight"].T + state[f"fc{number}.bias"]).tanh()
    x = x @ state["fc8.weight"].T + state["fc8.bias"]
    torch.testing.assert_close(net(images), x, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_handcrafted_res_computes_what_its_description_says() -> None:
    net, images = with_drawn_scales("handcrafted-res", 32)
    state = net.state_dict()
    x = FixedFilters(HAND_CRAFTED).double()(images)
    for number in range(3):
        weight = state[f"groups.{number}.conv.weight"]
        x = functional.conv2d(x, weight, state[f"groups.{number}.conv.bias"], padding=1)
        x = functional.max_pool2d(torch.where(x > 0, x, 0.2 * x), 2)
    x = x.flatten(1)
    for number in (1, 2, 3):
        x = x @ state[f"fc{number}.weight"].T + state[f"fc{number}.bias"]
        x = x if number == 3 else torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close(net(images), x, rtol=1e-9, atol=1e-9)


def xception_by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the logits from weights named as in FaceForensics++, in eval mode."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, gamma, beta = (
            state[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gamma + beta

    def separable(x: Tensor, name: str) -> Tensor:
        depth = functional.conv2d(x, state[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
        return torch.einsum("oi,bihw->bohw", state[f"{name}.pointwise.weight"][..., 0, 0], depth)

    for number, stride in ((1, 2), (2, 1)):
        x = functional.conv2d(x, state[f"conv{number}.weight"], stride=stride)
        x = norm(x, f"bn{number}").clamp(min=0)
    for number in range(1, 13):
        is_strided = number in {1, 2, 3, 12}
        y, place = x, 0
        for step in range(2 if is_strided else 3):
            if number > 1 or step:
                y, place = y.clamp(min=0), place + 1
            y = separable(y, f"block{number}.rep.{place}")
            y, place = norm(y, f"block{number}.rep.{place + 1}"), place + 2
        if is_strided:
            y = functional.max_pool2d(y, 3, 2, 1)
            x = norm(
                functional.conv2d(x[..., ::2, ::2], state[f"block{number}.skip.weight"]),
                f"block{number}.skipbn",
            )
        x = x + y
    x = norm(separable(x, "conv3"), "bn3").clamp(min=0)
    x = norm(separable(x, "conv4"), "bn4").clamp(min=0)
    return x.mean((2, 3)) @ state["last_linear.weight"].T + state["last_linear.bias"]


@torch.no_grad()
def test_xception_computes_what_its_description_says() -> None:
    net, images = trained("xception", 59)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    net, images = net.double(), images.double()
    expected = xception_by_hand(net.state_dict(), images)
    assert expected.std(0).min() > 0.01
    torch.testing.assert_close(net(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("network", [Meso4, MesoInception4])
def test_meso_networks_have_the_defaults_of_keras(network: type[Meso4 | MesoInception4]) -> None:
    modules = list(network(2, 64).modules())
    norms = [(m.eps, m.momentum) for m in modules if isinstance(m, nn.BatchNorm2d)]
    assert norms == [(1e-3, 0.01)] * 4
    assert [m.p for m in modules if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert [m.negative_slope for m in modules if isinstance(m, nn.LeakyReLU)] == [0.1]


@pytest.mark.parametrize("name", EACH_NETWORK)
def test_gradients_reach_all_that_learns_and_nothing_that_is_frozen(name: str) -> None:
    torch.manual_seed(5)
    net = built(name)
    # squared logits: those of mml are opposite, so the sum of their exponentials is flat at 0
    net(torch.rand(4, 3, SMALL, SMALL)).square().sum().backward()
    for key, p in net.named_parameters():
        if key.startswith("hq_head."):  # which sees images of high quality alone
            assert p.grad is None
            continue
        if not p.requires_grad:
            assert p.grad is None
            assert FROZEN[key] == p.numel()
            continue
        assert p.grad is not None, key
        assert p.grad.isfinite().all()
        # before a normalisation, a bias changes nothing: its gradient may vanish
        assert p.ndim == 1 or p.grad.any(), key


@pytest.mark.parametrize("name", EACH_NETWORK)
@torch.no_grad()
def test_logits_depend_on_neither_memory_format_nor_the_rest_of_the_batch(name: str) -> None:
    net, images = trained(name)
    before = images.clone()
    logits = net(images)
    assert torch.equal(images, before)
    assert logits.shape == (4, n_classes_of(name))
    assert logits.std(0).min() > 0
    tolerance = 1e-4 * float(logits.abs().max())
    alone = torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(alone, logits, rtol=0, atol=tolerance)
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    found = net(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, logits, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("amtennet", 28),
        ("model-base", 28),
        ("amtennet-8", 44),
        ("constrained-conv-model-base", 32),
        ("mislnet", 35),
        ("xception", 7),
        ("mml", 7),
        ("vgg11-bn", 32),
        ("densenet121", 32),
        ("resnet18", 1),
        ("efficientnet-b0", 1),
        ("meso4", 1),
        ("handcrafted-res", 1),
    ],
)
def test_networks_take_images_down_to_a_size_and_say_so_below(name: str, smallest: int) -> None:
    images = torch.rand(2, 3, smallest, smallest)
    assert build_blank(name, 2, smallest).eval()(images).shape == (2, 2)
    with pytest.raises(ArgumentError, match=f" {smallest - 1} px|1 px or more, got 0"):
        build(name, 2, smallest - 1)


def test_a_size_that_fits_no_layer_is_named_with_what_to_do() -> None:
    with pytest.raises(ArgumentError) as caught:
        build("AMTENnet", 2, 8)
    assert str(caught.value) == (
        "amtennet cannot take images of 8 px: they are too small for its four poolings. "
        "Use larger ones; the original has 128 px."
    )


def test_names_are_found_as_papers_spell_them() -> None:
    spellings = {
        "AMTENnet": "amtennet",
        "AMTEN_3": "amten-3",
        "AMTENnet_8": "amtennet-8",
        "Model-base": "model-base",
        "Hand-Crafted-Res-Model-base": "handcrafted-res-model-base",
        "SRM-Model-base": "srm-model-base",
        "Constrained-Conv-Model-base": "constrained-conv-model-base",
        "Hand-Crafted-Res": "handcrafted-res",
        "Meso-4": "meso4",
        "MesoInception-4": "mesoinception4",
        "MISLnet": "mislnet",
        "XceptionNet": "xception",
    }
    assert {name: canonical_name(name) for name in spellings} == spellings
    assert [canonical_name(name) for name in NETWORKS] == list(NETWORKS) == list(NAMES)
    assert tuple(name for name, row in NETWORKS.items() if row.high_quality is not None) == PAIRED
    assert network_named("meso-4") is NETWORKS["meso4"]
    with pytest.raises(UnknownNameError, match=r"No network named 'amtenet'\. Did you mean 'amte"):
        build("amtenet", 2)


def test_each_network_is_fed_as_its_original() -> None:
    own = {
        "meso4": (InputSpec("RGB", 0, 1, "pillow-nearest"), 256),
        "mesoinception4": (InputSpec("RGB", 0, 1, "pillow-nearest"), 256),
        "handcrafted-res": (InputSpec("RGB", 0, 255, "opencv-linear"), 128),
        "xception": (InputSpec("RGB", -1, 1, "pillow-bilinear"), 299),
        "mml": (InputSpec("RGB", -1, 1, "pillow-bilinear"), 299),
        "resnet18": (InputSpec("BGR", 0, 1, "opencv-linear"), 224),
        "vgg11-bn": (InputSpec("BGR", 0, 1, "opencv-linear"), 224),
        "densenet121": (InputSpec("BGR", 0, 1, "opencv-linear"), 224),
        "efficientnet-b0": (InputSpec("BGR", 0, 1, "opencv-linear"), 224),
    }
    caffe = InputSpec("BGR", 0, 255, "opencv-linear"), 128
    for name, spec in NETWORKS.items():
        assert (spec.input, spec.size) == own.get(name, caffe), name
    approximate = {name for name, spec in NETWORKS.items() if spec.is_approximate}
    assert approximate == {"handcrafted-res", "handcrafted-res-model-base"}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_each_network_has_the_layers_and_capabilities_that_its_spec_names(name: str) -> None:
    spec, net = NETWORKS[name], on_meta(name, 2, 64)
    modules, tensors = dict(net.named_modules()), set(net.state_dict())
    assert {*spec.layers, *spec.traces} <= modules.keys()
    assert bool(spec.traces) == isinstance(net, AmtenNet)
    images = torch.empty(2, 3, 64, 64, device="meta")
    views = [net]
    if spec.high_quality is not None:
        views.append(spec.high_quality.view(net))
        assert set(spec.high_quality.layers) <= dict(views[1].named_modules()).keys()
    if spec.attention_map is not None:
        assert [spec.attention_map(view, images).shape[:2] for view in views] == [(2, 1)] * 2
    if spec.pretrained is not None:
        layers = set(on_meta(spec.pretrained.network, 2, 64).state_dict())
        for part in spec.pretrained.parts:
            inner = {key.removeprefix(f"{part}.") for key in tensors if key.startswith(f"{part}.")}
            assert len(inner & layers) > 10


@pytest.mark.parametrize("name", list(NETWORKS))
def test_layers_are_known_by_the_names_of_the_weights(name: str) -> None:
    """A mistyped one is refused without the network."""
    net = on_meta(name, 2, 64)
    tensors = list(net.state_dict())
    layers = [layer for layer, _ in net.named_modules() if layer]
    check_layers_by_weights(name, tensors, layers)
    wrong = [*tensors, *(f"{layer}x" for layer in layers), *(f"{layer}.9x" for layer in layers)]
    for layer in ("", ".", "9", *wrong[:: 1 + len(wrong) // 12]):  # a suggestion takes time
        with pytest.raises(UnknownNameError, match="No layer named"):
            check_layers_by_weights(name, tensors, [layers[0], layer])


@pytest.mark.parametrize("name", list(NETWORKS))
def test_outputs_are_the_rows_of_the_last_layer(name: str) -> None:
    """Weights for other classes, or with outputs in another order, are taken by these rows."""
    net = on_meta(name, 2, 64)
    if NETWORKS[name].ranks_by_logits:
        assert not head_of(net)  # both are computed from one distance
    else:
        weight = net.get_parameter(f"{head_of(net)}.weight")
        assert weight.shape[0] == 2


def test_weights_follow_the_seed() -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in build("amtennet", 2, 32).parameters()])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_a_blank_network_is_the_same_without_random_numbers() -> None:
    before = torch.random.get_rng_state()
    blanks = {name: build_blank(name, n_classes_of(name), 64) for name in NETWORKS}
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in ("meso4", "mislnet", "srm-model-base", "efficientnet-b0"):
        drawn = build(name, 3, 64).state_dict()
        shapes = {key: x.shape for key, x in blanks[name].state_dict().items()}
        assert shapes == {key: x.shape for key, x in drawn.items()}


def test_model_base_alone_sees_the_image() -> None:
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(ModelBase(2, 32).front(images), images)
