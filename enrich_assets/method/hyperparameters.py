"""Hyper-parameters of the three networks, with the values of the papers as defaults. No torch here: the profile nests these.

Sources: ENRICH (Chinn et al. 2023, doi 10.1093/jamia/ocad055); beta-VAE (Burgess et al., arXiv 1804.03599).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class VaeSettings:
    """The beta-VAE and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (read by pydantic, never written)

    latent: int = 128  # units of the bottleneck
    channels: int = 32  # of each convolution
    hidden: int = 256  # units of each dense layer
    beta: float = 1.0  # 4, as in the beta-VAE papers, blurs clips together at short budgets: the health check says so
    loss: Literal["plain", "capacity"] = "plain"  # reconstruction + beta KL, or Burgess' gamma |KL - C|
    gamma: float = 1000.0  # capacity loss only
    capacity: float = 25.0  # nats, reached linearly
    capacity_steps: int = 100_000
    learning_rate: float = 5e-4
    batch_size: int = 64
    max_steps: int = 100_000
    train_frames: int = 5000
    held_out_share: float = 0.1  # of the patients, for early stopping
    evaluate_every: int = 500  # steps
    patience: int = 10  # evaluations without a better held-out loss
    min_active_share: float = 0.1  # health: units with variance of the mean over frames above 0.01


@dataclass(frozen=True)
class ClassifierSettings:
    """The paper's ResNet and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    widths: tuple[int, ...] = (32, 64, 128, 256)  # stem, then the blocks
    dense: int = 512
    dropout: float = 0.5
    epochs: int = 175
    min_steps: int = 0  # more epochs for small subsets, until so many steps were taken
    batch_size: int = 32
    learning_rate: float = 5e-4
    drops: tuple[tuple[int, float], ...] = ((100, 1e-4), (150, 5e-5))  # from this epoch, this rate


@dataclass(frozen=True)
class SegmenterSettings:
    """The paper's U-Net and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    channels: tuple[int, ...] = (8, 16, 32, 64, 128)  # a level each
    dropout: float = 0.25  # after each concatenation
    epochs: int = 500
    min_steps: int = 0
    batch_size: int = 2
    learning_rate: float = 1e-4
    drops: tuple[tuple[int, float], ...] = ((300, 5e-5), (375, 2.5e-5), (425, 1e-5))
    augment: bool = True
    rotation: float = 25.0  # degrees
    shift: float = 0.2  # share of the side
    shear: float = 0.05
    zoom: float = 0.15
    flips: bool = True
    class_weights: tuple[float, ...] | None = None
    dice: float = 0.0  # weight of a Dice term beside the cross-entropy
