"""The backbones of the facial parts study, against those of pytorchcv with the same weights."""

import pytest
import torch
from makers.backbones import THEIRS, redrawn
from torch import Tensor, nn

from hffkit.networks.efficientnet import StochasticDepth
from hffkit.networks.table import build, build_blank


def copied(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Return `theirs` with the tensors of `ours` themselves, which stand in the same order."""
    values = list(ours.state_dict().values())
    state = theirs.state_dict()
    assert [v.shape for v in state.values()] == [v.shape for v in values]
    theirs.load_state_dict(dict(zip(state, values, strict=True)), assign=True)
    return theirs.eval()


@pytest.mark.parametrize("name", list(THEIRS))
@torch.no_grad()
def test_backbones_compute_what_those_of_pytorchcv_do(name: str) -> None:
    ours = redrawn(build(name, 1000, 224))
    module, function = THEIRS[name]
    model = getattr(pytest.importorskip(f"pytorchcv.models.{module}"), function)
    with torch.device("meta"):
        theirs = model(pretrained=False)
    theirs = copied(theirs, ours)
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-5  # torchvision's; pytorchcv's B0 is that of TensorFlow
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
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
