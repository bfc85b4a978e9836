"""Hyper-parameters of the three networks, with the values of the papers as defaults. No torch here: the profile nests these.

Sources: ENRICH (Chinn et al. 2023, doi 10.1093/jamia/ocad055); beta-VAE (Burgess et al., arXiv 1804.03599).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

Count = Annotated[int, Ge(1)]
Rate = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Gt(0), Lt(1)]
ShareOrZero = Annotated[float, Ge(0), Lt(1)]
Drops = tuple[tuple[Count, Rate], ...]  # from this epoch, this rate


@dataclass(frozen=True)
class VaeSettings:
    """The beta-VAE and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (read by pydantic, never written)

    latent: Count = 128  # units of the bottleneck
    channels: Count = 32  # of each convolution
    hidden: Count = 256  # units of each dense layer
    beta: NotNegative = (
        1.0  # 4, as in the beta-VAE papers, blurs clips together at short budgets: the health check says so
    )
    loss: Literal["plain", "capacity"] = "plain"  # reconstruction + beta KL, or Burgess' gamma |KL - C|
    gamma: NotNegative = 1000.0  # capacity loss only
    capacity: NotNegative = 25.0  # nats, reached linearly
    capacity_steps: Count = 100_000
    learning_rate: Rate = 5e-4
    batch_size: Count = 64
    max_steps: Count = 100_000
    train_frames: Count = 5000
    held_out_share: Share = 0.1  # of the patients, for early stopping
    evaluate_every: Count = 500  # steps
    patience: Count = 10  # evaluations without a better held-out loss
    min_active_share: ShareOrZero = 0.1  # health: units with variance of the mean over frames above 0.01


@dataclass(frozen=True)
class ClassifierSettings:
    """The paper's ResNet and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    widths: tuple[Count, ...] = (32, 64, 128, 256)  # stem, then the blocks
    dense: Count = 512
    dropout: ShareOrZero = 0.5
    epochs: Count = 175
    min_steps: Annotated[int, Ge(0)] = 0  # more epochs for small subsets, until so many steps were taken
    batch_size: Count = 32
    learning_rate: Rate = 5e-4
    drops: Drops = ((100, 1e-4), (150, 5e-5))


@dataclass(frozen=True)
class SegmenterSettings:
    """The paper's U-Net and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    channels: tuple[Count, ...] = (8, 16, 32, 64, 128)  # a level each
    dropout: ShareOrZero = 0.25  # after each concatenation
    epochs: Count = 500
    min_steps: Annotated[int, Ge(0)] = 0
    batch_size: Count = 2
    learning_rate: Rate = 1e-4
    drops: Drops = ((300, 5e-5), (375, 2.5e-5), (425, 1e-5))
    augment: bool = True
    rotation: NotNegative = 25.0  # degrees
    shift: ShareOrZero = 0.2  # share of the side
    shear: NotNegative = 0.05
    zoom: ShareOrZero = 0.15
    flips: bool = True
    class_weights: tuple[NotNegative, ...] | None = None
    dice: NotNegative = 0.0  # weight of a Dice term beside the cross-entropy
