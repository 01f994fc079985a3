"""The backbones of the facial parts study, against those of pytorchcv with the same weights."""

import pytest
import torch
from makers.backbones import THEIRS, redrawn
from torch import Tensor, nn

from hffkit.networks.efficientnet import StochasticDepth
from hffkit.networks.table import build_blank


def copied(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Return `theirs` with the tensors of `ours` themselves, which stand in the same order."""
    values = list(ours.state_dict().values())
    state = theirs.state_dict()
    assert [v.shape for v in state.values()] == [v.shape for v in values]
    theirs.load_state_dict(dict(zip(state, values, strict=True)), assign=True)
    return theirs.eval()


def drawn_vgg() -> nn.Module:
    """Return the network with weights drawn fast: those of large layers are outer products."""
    net = redrawn(build_blank("vgg11-bn", 1000, 224))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.Linear):
            n = layer.in_features
            torch.outer(torch.randn(layer.out_features), torch.randn(n) / n**0.5, out=layer.weight)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.get_parameter("bias"))
    return net


@pytest.mark.slow
@torch.no_grad()
def test_vgg_computes_what_that_of_pytorchcv_does() -> None:
    """The other backbones are compared with the weights in published files."""
    ours = drawn_vgg()
    module, function = THEIRS["vgg11-bn"]
    model = getattr(pytest.importorskip(f"pytorchcv.models.{module}"), function)
    with torch.device("meta"):
        theirs = model(pretrained=False)
    theirs = copied(theirs, ours)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = theirs(images)
    assert expected.std() > 1e-3
    torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4)


def test_layers_have_the_names_of_torchvision() -> None:
    # A few of each published file; the shapes of all are checked by their number above.
    published = {
        "resnet18": {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.running_var"},
        "vgg11-bn": {"features.0.weight", "features.26.running_mean", "classifier.6.bias"},
        "densenet121": {
            "features.conv0.weight", "features.denseblock3.denselayer24.conv2.weight",
            "features.transition2.conv.weight", "features.norm5.bias", "classifier.weight",
        },
        "efficientnet-b0": {
            "features.0.0.weight", "features.1.0.block.1.fc1.bias", "features.2.1.block.3.1.weight",
            "features.7.0.block.2.fc2.weight", "features.8.1.running_var", "classifier.1.weight",
        },
    }  # fmt: skip
    for name, keys in published.items():
        with torch.device("meta"):
            assert keys <= build_blank(name, 2, 224).state_dict().keys(), name


def test_stochastic_depth_leaves_out_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(20_000, 1, 1, 1)
    layer = StochasticDepth(0.2)
    found: Tensor = layer(x).flatten()
    assert set(found.tolist()) == {0.0, 1.25}
    assert float((found == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(layer.eval()(x), x)
