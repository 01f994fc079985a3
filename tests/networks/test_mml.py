"""The network of metric learning: its published sizes, and what its outputs are."""

import pytest
import torch
from makers.networks import thin
from torch import nn

from hffkit.errors import ArgumentError
from hffkit.networks.mml import HighQuality, Mml, map_side
from hffkit.networks.table import build, build_blank

SIZE = 32


def counted(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def thin_net() -> Mml:
    with thin():
        return Mml(2, SIZE)


def test_heads_and_tail_have_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        net = build_blank("mml", 2, 299)
        xception = build_blank("xception", 2)
    assert isinstance(net, Mml)
    assert counted(net.hq_head) == counted(net.lq_head) == 7_569_944
    assert counted(net.hq_head) - counted(net.hq_head.get_submodule("reg")) == 7_562_664
    assert counted(net.tail) == 13_244_288
    assert counted(net.tail) + 2 * 2048 + 2 == 13_248_386
    assert counted(xception) == 7_562_664 + 13_248_386
    images = torch.empty(2, 3, 299, 299, device="meta")
    assert net.attention_map(images).shape == (2, 1, 19, 19)
    assert net.embed(images, "hq")[0].shape == (2, 2048)


def test_the_side_of_the_map_is_that_of_the_layers() -> None:
    with torch.device("meta"):
        net = build_blank("mml", 2).eval()
        for size in (7, 8, 31, 32, 71, 255, 256):
            found = net.get_submodule("lq_head")(torch.empty(1, 3, size, size))[1]
            assert found.shape == (1, 1, map_side(size), map_side(size)), size


def test_logits_are_distances_less_the_threshold_and_heads_differ() -> None:
    torch.manual_seed(3)
    net, images = thin_net().eval(), torch.rand(3, 3, SIZE, SIZE) * 2 - 1
    net.threshold.fill_(2.5)
    for head, way in (("lq", net), ("hq", HighQuality(net))):
        maps, attention = net.get_submodule(f"{head}_head")(images)
        *layers, _, _ = net.get_submodule(f"{head}_head").children()
        raw = nn.Sequential(*layers)(images)
        torch.testing.assert_close(maps, raw * attention)
        assert 0 <= attention.min() <= attention.max() <= 1
        distances = net.tail(maps).square().sum(1).sqrt()
        logits = way(images)
        torch.testing.assert_close(logits[:, 0] - logits[:, 1], distances - 2.5)
        torch.testing.assert_close(logits.softmax(1)[:, 0], torch.sigmoid(distances - 2.5))
    assert not torch.allclose(net(images), HighQuality(net)(images))


def test_the_original_draws_every_convolution_by_its_maps() -> None:
    torch.manual_seed(0)
    net = thin_net()
    for name in ("tail.conv4.pointwise", "hq_head.block2.rep.4.conv1", "lq_head.conv2"):
        layer = net.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        k, _ = layer.kernel_size
        expected = (2 / (k * k * layer.out_channels)) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_only_fake_and_real_are_told_apart() -> None:
    with pytest.raises(
        ArgumentError, match=r"has 2 outputs, got 5 classes\. Train it with `task` = binary"
    ):
        build("mml", 5)
    with pytest.raises(ArgumentError, match="cannot take images of 6 px"):
        build("mml", 2, 6)
