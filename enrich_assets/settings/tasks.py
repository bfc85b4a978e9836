"""The sections of a profile that say what is learned: tasks and their arms."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from enrich_assets.method.kinds import kind_of
from enrich_assets.method.ranking import rule_named, rule_names
from enrich_assets.settings.words import (
    ALL,
    BudgetKey,
    ClassName,
    Crop,
    Fraction,
    RuleName,
    Section,
    budget_frames,
    check_name,
    did_you_mean,
    known_kind,
)
from enrich_assets.settings.wrong_values import in_words

DEFAULT_ARMS: dict[str, dict[str, str]] = {"enrich": {}, "random": {"rule": "random"}}  # as a profile would name them


def with_one_length(training: dict[str, Any]) -> dict[str, Any]:
    """`training` without what is null, and without `search` where epochs or steps are named."""
    named = {key: value for key, value in training.items() if value is not None}
    if "epochs" in named and "steps" in named:
        raise ValueError("training: epochs or steps, not both; null takes out that of the other profile")
    if "epochs" in named or "steps" in named:
        named.pop("search", None)
    if "epochs" not in named and ("steps" in named or "search" in named):
        places = [entry[0] for entry in named.get("lr_milestones", ()) if isinstance(entry, list | tuple) and entry]
        if any(isinstance(place, int | float) and place >= 1 for place in places):
            raise ValueError(
                "training.lr_milestones: without `epochs`, as shares of the training (0.75: after three quarters)"
            )
    return named


class ArmSettings(Section):
    """A way to choose."""

    rule: RuleName = "k-center-greedy"
    similarity: Literal["cosine", "ssim", "pixels"] = "cosine"
    # None: the first of the profile. Left out of the digest of the settings, for what is read says it: `embeddings/<name>`.
    embedding: str | None = Field(None, exclude=True)
    quota_per_patient: int | None = Field(None, ge=1)  # so many frames of a patient before every patient gave as many

    @model_validator(mode="after")
    def _fits_its_rule(self) -> ArmSettings:
        rule = rule_named(self.rule)
        if rule.needs_vectors and self.similarity == "ssim":
            raise ValueError(f"rule {self.rule} needs vectors, which ssim has not; choose similarity cosine or pixels")
        if rule.sees_labels and self.quota_per_patient is not None:
            raise ValueError(f"rule {self.rule} sees labels and keeps no quota; leave quota_per_patient out")
        return self


class TaskSettings(Section):
    """One thing a model learns from labelled frames, and the experiment that shows how few labels suffice."""

    kind: Annotated[str, AfterValidator(known_kind)]
    label: str = "label"  # the manifest column (classification)
    classes: tuple[ClassName, ...] | None = None  # None: those found in the archive, in alphabetical order
    positive: ClassName | None = None  # of two classes; None: the last
    ignore: tuple[ClassName, ...] = ()  # label values that are no answer ("unsure")
    crop: Crop | None = None  # None: as `frames`
    crop_fraction: Fraction | None = None
    size: int = Field(80, ge=16)  # side of the square the model sees, in pixels
    initial_frames: BudgetKey = "1000"  # random frames common to all arms
    budgets: tuple[BudgetKey, ...] = Field(min_length=1)
    seeds: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...] = 10
    arms: dict[str, ArmSettings] = Field(
        default_factory=lambda: {name: ArmSettings.model_validate(arm) for name, arm in DEFAULT_ARMS.items()}
    )
    growth: Literal["extend", "restart"] = "extend"  # when studies arrive: keep the labels bought, or rank from scratch
    training: dict[str, Any] = Field(default_factory=dict)
    alpha: float = Field(0.05, gt=0, lt=1)
    margin: float | None = Field(None, gt=0)  # of equivalence to the full set; None: 0.01 AUC, 0.02 Jaccard
    seconds_per_label: float | None = Field(None, gt=0)  # None: 1 s a frame, 5 min a mask
    worklist: int = Field(200, ge=1)
    quota_per_patient: int | None = Field(None, ge=1)
    quota_per_clip: int | None = Field(None, ge=1)
    quota_per_site: int | None = Field(None, ge=1)  # of the first of the profile's `sites`
    class_aware: bool = False

    @field_validator("arms")
    @classmethod
    def _arms(cls, arms: dict[str, ArmSettings]) -> dict[str, ArmSettings]:
        for name in arms:
            if name == ALL:
                raise ValueError("the arm 'all' (the whole pool) is always there; give this one another name")
            check_name("arm", name)
        return arms

    @model_validator(mode="after")
    def _whole(self) -> TaskSettings:
        self.model_settings  # noqa: B018  raises for wrong training keys
        if self.classes is not None:
            if self.positive is not None and self.positive not in self.classes:
                raise ValueError(f"positive {self.positive!r} is none of the classes {list(self.classes)}")
            if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
                raise ValueError("classes: at least two, each once (segmentation: the background first)")
        for name, arm in self.arms.items():
            wanted = rule_named(arm.rule).needs_of_network
            if wanted is not None and wanted not in kind_of(self.kind).offers:
                offering = [
                    rule for rule in rule_names() if rule_named(rule).needs_of_network in kind_of(self.kind).offers
                ]
                raise ValueError(
                    f"arms.{name}: rule {arm.rule} needs {wanted} of the network, which a task of kind {self.kind} does not "
                    f"offer; rules that see labels and fit: {', '.join(offering) or 'none'}"
                )
        if len(set(self.budgets)) != len(self.budgets):
            raise ValueError("budgets: each once")
        return self

    @cached_property
    def model_settings(self) -> Any:
        """The network's hyper-parameters: the paper's, but for what `training` says."""
        hyperparameters: Any = kind_of(self.kind).hyperparameters
        allowed = sorted(hyperparameters.__dataclass_fields__)
        unknown = sorted(set(self.training) - set(allowed))
        if unknown:
            raise ValueError(f"training: {unknown} unknown; allowed: {allowed}{did_you_mean(unknown[0], allowed)}")
        try:
            return TypeAdapter(hyperparameters).validate_python(with_one_length(self.training))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"training.{'.'.join(map(str, first['loc']))}: {in_words(first)}") from error

    @property
    def searches_length(self) -> bool:
        """Whether the number of training steps follows from the data; False where the profile fixes it."""
        return getattr(self.model_settings, "search", None) is not None

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds themselves; a number n in the profile stands for 0 to n - 1."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def metric(self) -> str:
        """What an evaluation of this task is scored by."""
        return kind_of(self.kind).metric

    @property
    def equivalence_margin(self) -> float:
        """How far below the whole pool's score still counts as equal, in units of the metric."""
        return self.margin if self.margin is not None else kind_of(self.kind).margin

    @property
    def label_seconds(self) -> float:
        """An expert's time for one label, in seconds."""
        return self.seconds_per_label if self.seconds_per_label is not None else kind_of(self.kind).seconds_per_label

    def initial_frame_count(self, pool: int) -> int:
        """Size of the random set that all arms start from.

        Parameters
        ----------
        pool : int
            Frames in the pool.

        Returns
        -------
        int
            At least 1, at most `pool` (0 of an empty one).
        """
        return min(budget_frames(self.initial_frames, pool), pool)
