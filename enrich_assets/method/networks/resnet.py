"""The residual network of ENRICH's view classification, and nothing about how it is trained.

Chinn et al. 2023 (JAMIA 30:1079): 1,296,482 parameters for two classes and an 80x80 grey image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ResNetShape:
    """How wide the network is; the defaults are the paper's.

    Attributes
    ----------
    n_classes : int
    widths : tuple of int
        Channels of the stem, then of the blocks, each of which halves the image.
    dense : int
        Units before the last layer.
    dropout : float
        Before the last layer.
    """

    n_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    dense: int = 512
    dropout: float = 0.5

    @property
    def least_side(self) -> int:
        """Pixels that an image needs for one to be left after the last block: 15 for three blocks."""
        return int((1 << len(self.widths)) - 1)


class DownBlock(nn.Module):
    """Halve the image; the skip is the raw stride-2 convolution, before its normalisation."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        # No biases: each convolution feeds a batch norm that has one (and 1,296,482 counts it once).
        self.down = nn.Conv2d(c_in, c_out, 3, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.same = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.down(x)  # (b, c_in, s, s) -> (b, c_out, (s - 1) // 2, (s - 1) // 2)
        y = torch.relu(self.norm1(raw))
        y = self.norm2(self.same(y))
        return torch.relu(y + raw)


class ResNet(nn.Module):
    """(b, 1, h, w) float -> (b, n_classes) logits; h and w at least `least_side`."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        stem, last, dense = shape.widths[0], shape.widths[-1], shape.dense
        self.stem = nn.Sequential(nn.Conv2d(1, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(shape.widths)))
        self.dense = nn.Sequential(nn.Linear(last, dense, bias=False), nn.BatchNorm1d(dense), nn.ReLU())
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(dense, shape.n_classes)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, before its dropout: (b, dense)."""
        x = self.stem(x)  # (b, 32, 80, 80)
        x = self.blocks(x)  # (b, 64, 39, 39) -> (b, 128, 19, 19) -> (b, 256, 9, 9)
        x = x.mean(dim=(2, 3))  # (b, 256)
        return self.dense(x)  # (b, 512)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))  # (b, n_classes)
