"""Hyper-parameters of the three networks, with the values of the papers as defaults, and the thresholds of the VAE's health.

Plain dataclasses that the profile nests: no torch here, and nothing that computes. What the schedule does with them
stands in `networks/schedule.py`.

Sources: ENRICH (Chinn et al. 2023, doi 10.1093/jamia/ocad055); beta-VAE (Burgess et al., arXiv 1804.03599).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

Count = Annotated[int, Ge(1)]
Rate = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Gt(0), Lt(1)]
ShareOrZero = Annotated[float, Ge(0), Lt(1)]
Milestones = tuple[
    tuple[Count | Share, Rate], ...
]  # (epoch, or share of the training; learning rate from then on), ascending


@dataclass(frozen=True)
class SearchSettings:
    """How the number of steps of a task is found, once, on its whole pool: see `networks/length.py`."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    max_steps: Count  # of any training of the task
    evaluate_every: Count = 50  # steps
    patience: Count = 6  # evaluations in which nothing improves
    held_out_share: Share = 0.2  # of the pool's patients


@dataclass(frozen=True)
class HealthSettings:
    """From where on a VAE counts as healthy. These judge a trained VAE; none of them changes its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  (read by pydantic, never written)

    min_active_share: ShareOrZero = 0.1  # of the units: those with variance of the mean over frames above 0.01
    max_error_ratio: Rate = 0.95  # mean squared error of the reconstruction over that of the mean image
    # Rank-1 rate over chance. A collapsed VAE stands at 1; frames of a cine clip at 30 and more; a stack of different slices
    # (cardiac MRI: 7 % against 1 %) holds no near-duplicates, and must not be taken for a collapse.
    min_retrieval_ratio: NotNegative = 3.0


@dataclass(frozen=True)
class VaeSettings(HealthSettings):
    """The beta-VAE and its training; the thresholds of its health stand beside them, as in the profile (`vae:`)."""

    latent: Count = 128  # units of the bottleneck
    channels: Count = 32  # of each convolution
    hidden: Count = 256  # units of each dense layer
    # 4, as in the beta-VAE papers, blurs clips together at short budgets: the health check says so
    beta: NotNegative = 1.0
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

    def health_fields(self) -> dict[str, Any]:
        """The thresholds of the health check, by name: what may move without training again."""
        return {field.name: getattr(self, field.name) for field in fields(HealthSettings)}

    def training_fields(self) -> dict[str, Any]:
        """What the weights depend on, by name: all but the thresholds of the health check."""
        thresholds = self.health_fields()
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in thresholds}


@dataclass(frozen=True)
class ClassifierSettings:
    """The paper's ResNet and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    widths: tuple[Count, ...] = (32, 64, 128, 256)  # stem, then the blocks
    dense: Count = 512
    dropout: ShareOrZero = 0.5
    epochs: Count = 175
    min_steps: Annotated[int, Ge(0)] = 0  # more epochs for small subsets, until so many steps were taken
    steps: Count | None = (
        None  # of every training, however many frames it has; then `epochs` and `min_steps` do not count
    )
    search: SearchSettings | None = (
        None  # the steps follow from the data; `epochs` and `steps` in a profile switch it off
    )
    batch_size: Count = 32
    learning_rate: Rate = 5e-4
    lr_milestones: Milestones = ((100, 1e-4), (150, 5e-5))


@dataclass(frozen=True)
class SegmenterSettings:
    """The paper's U-Net and its training."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    channels: tuple[Count, ...] = (8, 16, 32, 64, 128)  # a level each
    dropout: ShareOrZero = 0.25  # after each concatenation
    epochs: Count = 500
    min_steps: Annotated[int, Ge(0)] = 0
    steps: Count | None = (
        None  # of every training, however many frames it has; then `epochs` and `min_steps` do not count
    )
    search: SearchSettings | None = (
        None  # the steps follow from the data; `epochs` and `steps` in a profile switch it off
    )
    batch_size: Count = 2
    learning_rate: Rate = 1e-4
    lr_milestones: Milestones = ((300, 5e-5), (375, 2.5e-5), (425, 1e-5))
    augment: bool = True
    rotation: NotNegative = 25.0  # degrees
    shift: ShareOrZero = 0.2  # share of the side
    shear: NotNegative = 0.05
    zoom: ShareOrZero = 0.15
    flips: bool = True
    class_weights: tuple[NotNegative, ...] | None = None
    dice: NotNegative = 0.0  # weight of a Dice term beside the cross-entropy
