"""The backbones that pytorchcv has as well, and values that tell their layers apart."""

import torch
from torch import nn

# Its own table of models would import torchvision, which must fit PyTorch to the last digit.
THEIRS = {
    "resnet18": ("resnet", "resnet18"),
    "vgg11-bn": ("vgg", "bn_vgg11b"),
    "densenet121": ("densenet", "densenet121"),
    "efficientnet-b0": ("efficientnet", "efficientnet_b0"),
}


def redrawn(net: nn.Module) -> nn.Module:
    """Give every normalisation statistics and factors that are not neutral."""
    torch.manual_seed(7)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.load_state_dict(
                {
                    "running_mean": torch.randn(layer.num_features) / 10,
                    "running_var": 0.5 + torch.rand(layer.num_features),
                },
                strict=False,
            )
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return net.eval()
