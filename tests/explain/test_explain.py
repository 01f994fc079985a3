"""Explanations against hand computation, OpenCV and captum."""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import captum.attr as captum
import cv2
import numpy as np
import pytest
import torch
from makers.networks import thin
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close as close
from torch.utils._python_dispatch import TorchDispatchMode

from hffkit.errors import ExplainError, UnknownNameError
from hffkit.explain.cam import grad_cam, grad_cams, stretched
from hffkit.explain.gradients import count_relus, deconvnet, guided, integrated, vanilla
from hffkit.explain.images import gradient_image, overlay, trace_image
from hffkit.explain.layers import shapes
from hffkit.explain.method_names import NAMES, TRACES
from hffkit.explain.methods import METHODS, Query, heat_of, traces
from hffkit.networks.table import NETWORKS, build, build_blank

# Each architecture once; the largest are for the long tests.
ARCHITECTURES = (
    "amtennet", "mesoinception4", "handcrafted-res", "mislnet", "resnet18", "xception",
    *(pytest.param(name, marks=pytest.mark.slow)
      for name in ("densenet121", "efficientnet-b0", "vgg11-bn")),
)  # fmt: skip
SIZE = 64


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(name: str, size: int = SIZE) -> tuple[nn.Module, Tensor]:
    """A network of random weights with statistics that mean something, and two images for it."""
    torch.manual_seed(3)  # with others more classes have no heat at more layers
    with thin():
        net, spec = build(name, 3, size).eval(), NETWORKS[name].input
    for layer in net.modules():
        for key, buffer in layer.named_buffers(recurse=False):
            if key == "running_var":
                buffer.uniform_(0.5, 2)
            elif key == "running_mean":
                buffer.uniform_(-0.5, 0.5)
    return net, torch.rand(2, 3, size, size) * (spec.high - spec.low) + spec.low


class OneConv(nn.Module):
    """A convolution, ReLU, the mean of each map, and a layer of units."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 4, 3, stride, 1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.relu(self.conv(images)).mean((2, 3)))
        return logits


class TwoConvs(nn.Module):
    """Two 1x1 convolutions, each behind a ReLU but the last; `rectify` is how."""

    def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.three = nn.Conv2d(8, 2, 1)
        self.rectify = rectify

    def forward(self, images: Tensor) -> Tensor:
        x = self.rectify(self.two(self.rectify(self.one(images))))
        logits: Tensor = self.three(x).sum((2, 3))
        return logits


# Grad-CAM


def test_grad_cam_of_one_convolution_is_what_a_hand_gets() -> None:
    net, images = OneConv(), torch.randn(2, 3, 5, 6, generator=torch.manual_seed(0))
    classes = torch.tensor([2, 0])
    found = grad_cam(net, images, "relu", classes).numpy()
    maps = net.conv(images).clamp(min=0).detach().numpy()
    for i, row in enumerate(classes.tolist()):
        weights = net.fc.weight[row].detach().numpy() / 30  # the mean's gradient, and its mean
        cam = np.maximum(sum(w * plane for w, plane in zip(weights, maps[i], strict=True)), 0)
        cam = (cam - cam.min()) / (cam.max() - cam.min())
        assert cam.max() > cam.mean() > 0
        assert found[i] == pytest.approx(cam, abs=1e-6)


def test_grad_cam_is_enlarged_as_opencv_enlarges() -> None:
    net, images = OneConv(stride=4), torch.randn(1, 3, 32, 32, generator=torch.manual_seed(3))
    (found,) = grad_cam(net, images, "conv").numpy()
    maps = net.conv(images)[0].detach().numpy()
    row = int(net(images).argmax())
    is_on = maps > 0  # the gradient passes the ReLU behind the layer there
    weights = net.fc.weight[row].detach().numpy() / 64 * is_on.mean(axis=(1, 2))
    cam = np.maximum(np.tensordot(weights, maps, 1), 0).astype(np.float32)
    large = cv2.resize(cam, (32, 32), interpolation=cv2.INTER_LINEAR)
    large = (large - large.min()) / (large.max() - large.min())
    assert cam.max() > 0
    assert found == pytest.approx(large, abs=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_methods_agree_with_captum(name: str) -> None:
    net, images = network(name)
    classes = torch.tensor([0, 2])
    pairs: list[tuple[Tensor, Tensor]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum tells of each hook it sets
        for ours, theirs in (
            (vanilla, captum.Saliency),
            (deconvnet, captum.Deconvolution),
            (guided, captum.GuidedBackprop),
        ):
            # Captum changes the whole gradient of a ReLU's input, in Xception's blocks also that
            # of the short way beside the ReLU.
            if name == "xception" and ours is not vanilla:
                continue
            how = {"abs": False} if ours is vanilla else {}
            expected = theirs(net).attribute(images.clone(), target=classes, **how)
            pairs.append((ours(net, images, classes), expected))
        extents = shapes(net, images)
        layers = [name for name in NETWORKS[name].layers if np.prod(extents[name][2:]) > 1]
        cams = grad_cams(net, images, layers, classes)
        for layer in layers:
            cam = captum.LayerGradCam(net, net.get_submodule(layer))
            raw = cam.attribute(images.clone(), target=classes, relu_attributions=True)
            large = captum.LayerAttribution.interpolate(raw, (SIZE, SIZE), "bilinear")
            pairs.append((cams[layer], stretched(large[:, 0])))
    scales = [float(expected.detach().abs().max()) for _, expected in pairs]
    for (found, expected), scale in zip(pairs, scales, strict=True):
        assert float((found - expected).detach().abs().max()) <= 1e-4 * scale
    assert sum(scale > 0 for scale in scales) > len(scales) / 2


@pytest.mark.parametrize("name", ["amtennet", "xception"])  # which captum gets wrong
def test_gradients_through_relus_are_those_of_hooks_on_each_module(name: str) -> None:
    net, images = network(name)
    classes = torch.tensor([0, 2])
    relus = [module for module in net.modules() if isinstance(module, nn.ReLU)]
    rules: dict[Any, Callable[..., tuple[Tensor]]] = {
        deconvnet: lambda _, _own, after: (after[0].clamp(min=0),),
        guided: lambda _, own, _after: (own[0].clamp(min=0),),
    }
    for method, rule in rules.items():
        hooks = [module.register_full_backward_hook(rule) for module in relus]
        pixels = images.clone().requires_grad_()
        net(pixels)[[0, 1], classes].sum().backward()
        for hook in hooks:
            hook.remove()
        assert pixels.grad is not None
        scale = float(pixels.grad.abs().max())
        assert scale > 0
        assert float((method(net, images, classes) - pixels.grad).abs().max()) <= 1e-4 * scale


def test_all_layers_in_one_pass_are_each_layer_alone() -> None:
    net, images = network("mesoinception4")
    layers = NETWORKS["mesoinception4"].layers
    together = grad_cams(net, images, layers)
    for layer in layers:
        close(together[layer], grad_cam(net, images, layer), rtol=0, atol=1e-5)


def test_a_batch_is_explained_as_its_images_are_one_by_one() -> None:
    net, images = network("amtennet")
    together = grad_cam(net, images, "relu7")
    alone = torch.cat([grad_cam(net, image[None], "relu7") for image in images])
    close(together, alone, rtol=0, atol=1e-4)
    assert float(together.min()) == 0
    assert together.amax((1, 2)) == pytest.approx(1)


def test_the_most_probable_class_is_explained_unless_another_is_named() -> None:
    net, images = OneConv(), torch.randn(4, 3, 8, 8, generator=torch.manual_seed(0))
    best = net(images).argmax(1)
    assert torch.equal(grad_cam(net, images, "conv"), grad_cam(net, images, "conv", best))
    other = (best + 1) % 3
    assert not torch.equal(grad_cam(net, images, "conv"), grad_cam(net, images, "conv", other))


def test_where_nothing_speaks_for_a_class_there_is_no_heat() -> None:
    net, images = OneConv(), torch.randn(1, 3, 8, 8)
    nn.init.constant_(net.fc.weight, -1)
    assert not grad_cam(net, images, "relu").any()


def test_it_works_where_gradients_are_switched_off() -> None:
    net, images = OneConv(), torch.randn(1, 3, 8, 8)
    classes = net(images).argmax(1)
    expected = grad_cam(net, images, "conv"), guided(net, images, classes)
    with torch.no_grad():
        assert torch.equal(grad_cam(net, images, "conv"), expected[0])
        assert torch.equal(guided(net, images, classes), expected[1])


# Gradients


def test_gradients_through_relus_are_what_a_hand_gets() -> None:
    net = TwoConvs(nn.ReLU())
    image = torch.randn(1, 3, 1, 1, generator=torch.manual_seed(4))
    w1, w2, w3 = (
        layer.weight.detach().numpy()[:, :, 0, 0] for layer in (net.one, net.two, net.three)
    )
    x = image.numpy().ravel()
    b1, b2 = (net.get_parameter(f"{name}.bias").detach().numpy() for name in ("one", "two"))
    a = w1 @ x + b1
    b = w2 @ np.maximum(a, 0) + b2
    rules: dict[Any, Callable[[Any, Any], Any]] = {
        vanilla: lambda g, y: g * (y > 0),
        deconvnet: lambda g, _: np.maximum(g, 0),
        guided: lambda g, y: np.maximum(g, 0) * (y > 0),
    }
    results = []
    for method, rule in rules.items():
        expected = w1.T @ rule(w2.T @ rule(w3[1], b), a)
        found = method(net, image, torch.tensor([1])).numpy().ravel()
        assert found == pytest.approx(expected, abs=1e-6)
        results.append(found)
    assert not np.allclose(results[0], results[1])
    assert not np.allclose(results[1], results[2])


@pytest.mark.parametrize("rectify", [functional.relu, torch.relu, Tensor.relu])
def test_functional_relus_are_caught(rectify: Callable[[Tensor], Tensor]) -> None:
    images, classes = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    for method in (deconvnet, guided):
        expected = method(TwoConvs(nn.ReLU()), images, classes)
        assert torch.equal(method(TwoConvs(rectify), images, classes), expected)
    assert count_relus(TwoConvs(rectify), images) == 2


@pytest.mark.parametrize(
    "rectify",
    [
        nn.ReLU(inplace=True),
        torch.relu_,
        Tensor.relu_,
        functional.relu_,
        lambda x: functional.relu(x, True),  # noqa: FBT003
    ],
)
def test_relus_in_place_are_refused(rectify: Callable[[Tensor], Tensor]) -> None:
    for method in (deconvnet, guided):
        with pytest.raises(ExplainError, match=r"Build it with nn\.ReLU\(inplace=False\)"):
            method(TwoConvs(rectify), torch.randn(1, 3, 4, 4), torch.tensor([0]))


def test_a_relu_in_place_behind_a_layer_does_not_change_its_maps() -> None:
    plain, in_place = (
        nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Flatten(), nn.Linear(144, 2))
        for relu in (nn.ReLU(), nn.ReLU(inplace=True))
    )
    in_place.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(grad_cam(in_place, images, "0"), grad_cam(plain, images, "0"))


def test_integrated_gradients_of_a_linear_network_are_weights_times_levels_above_black() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    found = integrated(net, images, torch.tensor([1, 0]), black=-1)
    weight = net.get_parameter("1.weight").detach()[[1, 0]].view(2, 3, 4, 4)
    assert found == pytest.approx(weight * (images + 1), abs=1e-6)


def test_integrated_gradients_sum_to_the_difference_of_logits() -> None:
    net, images = network("meso4")
    classes = torch.tensor([1, 2])
    found = integrated(net, images, classes, black=0)
    with torch.no_grad():
        rise = (net(images) - net(torch.zeros_like(images)))[[0, 1], classes]
    off = (found.sum((1, 2, 3)) - rise).abs() / found.abs().sum((1, 2, 3))
    assert float(off.max()) < 0.01


# Networks


class Activations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the activations of layers, (B, ...), that are computed, whoever calls them."""

    KINDS = (
        "relu", "leaky_relu", "silu", "tanh", "sigmoid", "gelu", "elu", "hardtanh", "hardswish",
        "mish", "softplus", "prelu", "clamp", "clamp_min", "softmax", "threshold",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.strip("_") in self.KINDS and args[0].ndim > 1:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def loose_activations(net: nn.Module, images: Tensor) -> list[str]:
    """Return what is activated in place, by a function, or by a module that does not run once.

    The head of mml for images of high quality is not for any image.
    """
    kinds = (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.Tanh, nn.Sigmoid)
    modules = {name: m for name, m in net.named_modules() if isinstance(m, kinds)}
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in modules.items()
    ]
    with Activations() as found, torch.no_grad():
        net.eval()(images)
    for handle in handles:
        handle.remove()
    in_place = [name for name in found.seen if name.endswith("_")]
    in_place += [name for name, module in modules.items() if getattr(module, "inplace", False)]
    other = [name for name in modules if ran.count(name) != 1 and name[:7] != "hq_head"]
    return in_place + other + ["function"] * (len(found.seen) - len(ran))


@cache
def on_meta(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network without values, and an image of its size."""
    size = NETWORKS[name].size
    with torch.device("meta"):
        return build_blank(name, 2), torch.empty(1, 3, size, size)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_activation_is_a_module_of_its_own(name: str) -> None:
    assert loose_activations(*on_meta(name)) == []


@pytest.mark.parametrize(
    ("rectify", "expected"),
    [
        (functional.relu, ["function"] * 2),
        (nn.ReLU(), ["rectify"]),
        (torch.tanh, ["function"] * 2),
        (torch.relu_, ["relu_", "relu_", "function", "function"]),
    ],
)
def test_loose_activations_are_found(rectify: Any, expected: list[str]) -> None:
    assert loose_activations(TwoConvs(rectify), torch.randn(1, 3, 4, 4)) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_of_each_network_have_maps(name: str) -> None:
    spec, found = NETWORKS[name], shapes(*on_meta(name))
    assert spec.layers
    assert all(len(found[n]) == 4 and np.prod(found[n][2:]) > 1 for n in spec.layers)
    order = [n for n in found if n in spec.layers]
    assert order == list(spec.layers)
    sides = [found[n][2] for n in spec.layers]
    assert sides == sorted(sides, reverse=True)


def test_the_layers_are_those_of_the_study_of_facial_parts() -> None:
    assert NETWORKS["resnet18"].layers == ("conv1", "layer1", "layer2", "layer3", "layer4")
    lasts = {"vgg11-bn": "features.28", "densenet121": "features", "efficientnet-b0": "features.8"}
    assert {name: NETWORKS[name].layers[-1] for name in lasts} == lasts
    assert shapes(*on_meta("vgg11-bn"))["features.28"] == (1, 512, 7, 7)


def test_networks_without_relu_are_told_apart() -> None:
    names = ("efficientnet-b0", "mislnet", "amtennet", "resnet18")
    counts = {name: count_relus(*on_meta(name)) for name in names}
    assert counts == {"efficientnet-b0": 0, "mislnet": 0, "amtennet": 4, "resnet18": 17}


def test_amten_shows_what_its_authors_call_traces() -> None:
    net, images = network("amtennet")
    found = traces(net, images, NETWORKS["amtennet"].traces)

    def conv(name: str, x: Tensor) -> Tensor:
        weight, bias = (net.get_parameter(f"{name}.{part}") for part in ("weight", "bias"))
        return functional.conv2d(x, weight, bias, padding=1)

    f_mt = conv("conv1", images) - images
    f_1 = conv("conv2_2", conv("conv2_1", f_mt))
    f_2 = conv("conv3_2", conv("conv3_1", torch.cat((f_1, f_mt), 1)))
    close(found["F_mt"], f_mt.detach(), rtol=0, atol=1e-3)
    close(found["F_reu"], torch.cat((f_2, f_1, f_mt), 1).detach(), rtol=0, atol=1e-2)


class Attending(OneConv):
    """A network that weights places by a map of its own, a quarter of the images' size."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.Conv2d(3, 1, 4, 4)

    def attention_map(self, images: Tensor) -> Tensor:
        found: Tensor = self.attend(images).sigmoid()
        return found

    def forward(self, images: Tensor) -> Tensor:
        weights = functional.interpolate(self.attention_map(images), images.shape[2:])
        logits: Tensor = self.fc((self.relu(self.conv(images)) * weights).mean((2, 3)))
        return logits


def test_a_network_that_has_attention_shows_it() -> None:
    net, images = Attending(), torch.randn(2, 3, 16, 16)
    query = Query(net, images, torch.tensor([0, 1]), (), 0.0, Attending.attention_map)
    found = METHODS["attention"].maps(query)["attention"]
    assert found.shape == (2, 1, 16, 16)
    own = net.attention_map(images).detach().numpy()
    for i in range(2):
        large = cv2.resize(own[i, 0], (16, 16), interpolation=cv2.INTER_LINEAR)
        assert heat_of(found)[i].numpy() == pytest.approx(large, abs=1e-5)
    with pytest.raises(ExplainError, match="no attention map"):
        METHODS["attention"].maps(Query(OneConv(), images, query.classes, (), 0.0))


# What is left behind


class Fragile(OneConv):
    """Fails in its forward pass, behind the convolution."""

    def forward(self, images: Tensor) -> Tensor:
        self.conv(images)
        raise ArithmeticError


def hooks(net: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in net.modules() for kind in kinds)


def condition(net: nn.Module) -> tuple[Any, ...]:
    return (
        hooks(net),
        [module.training for module in net.modules()],
        [(p.requires_grad, p.grad is None) for p in net.parameters()],
        [value.tolist() for value in net.state_dict().values()],
    )


def in_training(net: nn.Module) -> nn.Module:
    net.train()
    net.get_submodule("relu").eval()
    net.get_parameter("fc.bias").requires_grad = False
    return net


def test_names_of_methods_are_those_of_the_table() -> None:
    assert (*METHODS, TRACES) == NAMES


@pytest.mark.parametrize("name", METHODS)
def test_a_network_is_left_as_it_was(name: str) -> None:
    net, images = in_training(Attending()), torch.randn(2, 3, 8, 8)
    before = condition(net)
    classes, layers = torch.tensor([0, 1]), ("conv", "relu")
    METHODS[name].maps(Query(net, images, classes, layers, 0.0, Attending.attention_map))
    assert condition(net) == before
    assert not images.requires_grad


@pytest.mark.parametrize("name", [name for name in METHODS if name != "attention"])
def test_a_network_is_left_as_it_was_after_an_error(name: str) -> None:
    net = in_training(Fragile())
    before = condition(net)
    with pytest.raises(ArithmeticError):
        METHODS[name].maps(
            Query(net, torch.randn(1, 3, 8, 8), torch.tensor([0]), ("conv", "relu"), 0.0)
        )
    assert condition(net) == before


class Strange(OneConv):
    """One layer runs twice, one never, one without effect."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never, self.unused = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        self.unused(images * 2)
        return super().forward(self.twice(self.twice(images)))


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("con", UnknownNameError, "No layer named 'con'. Did you mean 'conv'?"),
        ("zzz", UnknownNameError, "No layer named 'zzz'. Known: conv, relu, fc, twice"),
        ("fc", ExplainError, "Layer 'fc' has no spatial extent: its output is 3 for each image"),
        ("twice", ExplainError, "Layer 'twice' runs more than once"),
        ("never", ExplainError, "Layer 'never' does not run"),
        ("unused", ExplainError, "Layer 'unused' does not affect the output"),
    ],
)
def test_layers_that_have_no_maps_are_named(layer: str, error: Any, message: str) -> None:
    net = in_training(Strange())
    before = condition(net)
    with pytest.raises(error) as caught:
        grad_cam(net, torch.randn(1, 3, 8, 8), layer)
    assert message in str(caught.value)
    assert condition(net) == before


def test_a_layer_of_one_value_a_map_has_no_extent() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ExplainError, match="its output is 4x1x1 for each image"):
        grad_cam(net, torch.randn(1, 3, 8, 8), "0")


# Images


def test_red_is_hot_and_the_image_shows_through() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    cold, middle, hot = overlay(image, np.array([[0, 0.5, 1]], np.float32))[0].astype(int)
    assert cold[2] > cold[0] == cold[1] == 50
    assert hot[0] > hot[2] == hot[1] == 50
    assert middle[1] > max(middle[0], middle[2])


def test_gradients_are_drawn_in_rgb_and_stretched_as_one() -> None:
    gradient = np.zeros((3, 1, 2), np.float32)
    gradient[0, 0, 0], gradient[2, 0, 1] = -1, 3  # first and last plane
    as_rgb = gradient_image(gradient, "RGB")
    assert as_rgb.tolist() == [[[0, 64, 64], [64, 64, 255]]]
    assert gradient_image(gradient, "BGR").tolist() == [[[64, 64, 0], [255, 64, 64]]]
    assert trace_image(gradient[2]).tolist() == [[[0] * 3, [255] * 3]]
    assert not gradient_image(np.ones((3, 2, 2), np.float32), "RGB").any()


def test_the_heat_of_a_signed_map_is_its_magnitude() -> None:
    maps = torch.zeros(1, 3, 1, 3)
    maps[0, 1, 0, 0], maps[0, 2, 0, 1] = -4, 2
    assert heat_of(maps).tolist() == [[[1, 0.5, 0]]]
