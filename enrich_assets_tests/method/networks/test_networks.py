"""The two networks are the paper's, by their number of parameters and by what they accept."""

from __future__ import annotations

import pytest
import torch

from enrich_assets.method.networks.resnet import ResNet, ResNetShape
from enrich_assets.method.networks.unet import UNet, UNetShape


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_the_resnet_has_the_parameters_of_the_paper():
    assert parameters(ResNet(ResNetShape(n_classes=2))) == 1_296_482


def test_the_unet_has_the_parameters_of_the_paper():
    assert parameters(UNet(UNetShape(n_classes=5))) == 485_709


def test_a_batch_norm_brings_a_scale_a_channel_and_its_shift_takes_the_place_of_the_bias():
    scales = 2 * sum((8, 16, 32, 64, 128)) + 2 * sum((8, 16, 32, 64))
    assert parameters(UNet(UNetShape(n_classes=5, batch_norm=True))) == 485_709 + scales


def test_the_resnet_halves_80_pixels_to_39_19_and_9():
    model = ResNet(ResNetShape(2, widths=(2, 3, 4, 5), dense=6)).eval()
    x = model.stem(torch.zeros(1, 1, 80, 80))
    sides = []
    for block in model.blocks:
        x = block(x)
        sides.append(tuple(x.shape[1:]))
    assert sides == [(3, 39, 39), (4, 19, 19), (5, 9, 9)]


def test_the_skip_is_the_raw_stride_2_convolution():
    block = ResNet(ResNetShape(2, widths=(2, 3), dense=4)).blocks[0].eval()
    x = torch.randn(2, 2, 9, 9)
    with torch.no_grad():
        raw = block.down(x)
        torch.nn.init.zeros_(block.norm2.weight)  # silence the other branch
        assert torch.equal(block(x), torch.relu(raw))


def test_the_resnet_says_the_least_image_it_can_take():
    shape = ResNetShape(2, widths=(2, 2, 2, 2), dense=4)
    assert shape.least_side == 15
    model = ResNet(shape).eval()
    assert model(torch.zeros(1, 1, 15, 15)).shape == (1, 2)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 1, 14, 14))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 30), (5, 41)])
def test_the_unet_gives_logits_for_every_pixel_of_any_image(height, width, batch_norm):
    model = UNet(UNetShape(3, channels=(2, 3, 4, 5, 6), batch_norm=batch_norm)).eval()
    assert model(torch.rand(2, 1, height, width)).shape == (2, 3, height, width)


def test_padding_is_even_so_the_image_stays_in_the_middle():
    """A 14 x 14 image gives what the same image in a black frame of 16 x 16 gives in its middle."""
    torch.manual_seed(0)
    model = UNet(UNetShape(3, channels=(2, 3, 4, 5, 6))).eval()
    image = torch.rand(1, 1, 14, 14)
    framed = torch.zeros(1, 1, 16, 16)
    framed[..., 1:15, 1:15] = image
    with torch.no_grad():
        assert torch.equal(model(image), model(framed)[..., 1:15, 1:15])
