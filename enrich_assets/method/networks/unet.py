"""The U-Net of ENRICH's segmentation, and nothing about how it is trained.

Ronneberger et al. 2015 in the size of Chinn et al. 2023: 485,709 parameters for five classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class UNetShape:
    """How wide and deep the network is; the defaults are the paper's.

    Attributes
    ----------
    n_classes : int
        Background included.
    channels : tuple of int
        A level each; each level below has half the side.
    dropout : float
        After each concatenation.
    batch_norm : bool
        After each convolution of a pair; the paper has none.
    """

    n_classes: int
    channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    dropout: float = 0.25
    batch_norm: bool = False

    @property
    def multiple(self) -> int:
        """Height and width are padded to a multiple of this."""
        return int(1 << (len(self.channels) - 1))


def two_convolutions(c_in: int, c_out: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((c_in, c_out), (c_out, c_out)):
        # A bias before a batch norm would be subtracted again.
        layers.append(nn.Conv2d(a, b, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(b), nn.ReLU()] if batch_norm else [nn.ReLU()]
    return nn.Sequential(*layers)


class UpBlock(nn.Module):
    """Double the image, join the encoder's map of that level, convolve twice."""

    def __init__(self, c_in: int, c_out: int, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(c_in, c_out, 2, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.convolutions = two_convolutions(2 * c_out, c_out, batch_norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([self.up(x), skip], dim=1)  # (b, c_in, s, s) -> (b, c, 2s, 2s) ++ (b, c, 2s, 2s)
        return self.convolutions(self.dropout(x))  # (b, c, 2s, 2s)


class UNet(nn.Module):
    """(b, 1, h, w) float -> (b, n_classes, h, w) logits.

    Any h and w: the image is padded with zeros, evenly on both sides, to a multiple of 16 (for five
    levels), and the logits are cropped back.
    """

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.multiple = shape.multiple
        widths = shape.channels  # 8, 16, 32, 64, 128
        norm = shape.batch_norm
        self.down = nn.ModuleList(two_convolutions(a, b, norm) for a, b in zip([1, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            UpBlock(b, a, shape.dropout, norm) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], shape.n_classes, 1)
        # Without batch norm torch's default start shrinks the signal at every layer; He et al. 2015 keeps it.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        pad_h, pad_w = -h % self.multiple, -w % self.multiple
        top, left = pad_h // 2, pad_w // 2
        if pad_h or pad_w:
            x = F.pad(x, (left, pad_w - left, top, pad_h - top))
        skips: list[Tensor] = []
        for level, convolutions in enumerate(self.down):
            if level:
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = convolutions(x)  # (b, 8, h, w), (b, 16, h/2, w/2) ... (b, 128, h/16, w/16)
        for block in self.up:
            x = block(x, skips.pop())
        return self.head(x)[..., top : top + h, left : left + w]
