"""The profile: tasks, arms, budgets, seeds, training, as a model that is checked before anything runs.

The model alone: its fields, their defaults, what they may be. Reading it from YAML is in `profiles`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from enrich_assets.method.hyperparameters import (
    AnyEmbedding,
    ImportedEmbedding,
    OnnxEmbedding,
    PcaEmbedding,
    VaeEmbedding,
    VaeSettings,
)
from enrich_assets.method.kinds import kind_names, kind_of
from enrich_assets.method.ranking import rule_named, rule_names

ALL = "all"  # the arm, and the budget key, of the whole pool
DEFAULT_EMBEDDINGS: dict[str, dict[str, str]] = {"vae": {}}
DEFAULT_ARMS: dict[str, dict[str, str]] = {"enrich": {}, "random": {"rule": "random"}}  # as a profile would name them


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Crop = Literal["cone", "none"] | tuple[int, int, int]
Fraction = Annotated[float, Field(gt=0, le=1)]


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: the allowed name most like it, or nothing."""
    nearest = difflib.get_close_matches(name, list(allowed), 1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{what} {name!r}: lower-case letters, digits and underscores, a letter first")
    if "__" in name or name.endswith("_"):
        raise ValueError(
            f"{what} {name!r}: no two underscores in a row and none at the end, because Dagster joins the parts of an "
            "asset's key with two"
        )


def _budget_key(value: Any) -> str:
    """ "120" frames or "25%" of the pool."""
    text = str(value).strip().replace("_", "")
    if re.fullmatch(r"[1-9]\d*", text):
        return text
    if re.fullmatch(r"\d+(\.\d+)?%", text) and 0 < float(text[:-1]) <= 100:
        return text
    raise ValueError(f"{value!r} is no budget: a number of frames (120) or a share of the pool ('25%')")


BudgetKey = Annotated[str, BeforeValidator(_budget_key)]


def budget_frames(key: str, pool: int) -> int:
    """How many frames a budget buys.

    Parameters
    ----------
    key : str
        A number of frames ("120"), a share of the pool ("25%"), or "all".
    pool : int
        Frames in the pool.

    Returns
    -------
    int
        At least 1. A number of frames may exceed the pool; a share never does.
    """
    if key == ALL:
        return pool
    return max(1, round(float(key[:-1]) / 100 * pool)) if key.endswith("%") else int(key)


def _class_name(value: Any) -> Any:
    """Classes are names; a number without quotes is taken as one, YAML's yes and no are not."""
    if isinstance(value, bool):
        raise ValueError(f"YAML reads yes, no, on and off as {value}; put the name between quotes")
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, BeforeValidator(_class_name)]


def _rule_name(value: Any) -> Any:
    """A rule's own name; `max`, the paper's word for greedy k-centre, is another name of that rule."""
    try:
        return rule_named(value).name
    except (ValueError, TypeError):
        known = rule_names()
        raise ValueError(
            f"there is no rule {value!r}; rules: {', '.join(known)}{did_you_mean(str(value), known)}"
        ) from None


RuleName = Annotated[str, BeforeValidator(_rule_name)]


# ------------------------------------------------------------------------------------- what depends on the kind of task


def _known_kind(name: str) -> str:
    if name not in kind_names():
        known = kind_names()
        raise ValueError(f"there is no kind of task {name!r}; kinds: {', '.join(known)}{did_you_mean(name, known)}")
    return name


def _with_one_length(training: dict[str, Any]) -> dict[str, Any]:
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


# ------------------------------------------------------------------------------------------------- the sections, inside out


class ArmSettings(_Settings):
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


def _with_kind(name: str, given: Any) -> Any:
    """What an embedding is, where it does not say so: by what it names (`onnx`, `imported`), else by its own name."""
    _check_name("embedding", name)
    if not isinstance(given, dict):
        return given
    by_content = next((kind for kind in ("onnx", "imported") if kind in given), None)
    kind = given.get("kind", by_content or name)
    if kind not in EMBEDDING_KINDS:
        raise ValueError(
            f"embedding {name!r}: say what it is: `kind: pca`, `onnx: FILE` or `imported: FILE` "
            f"(without that, only {' and '.join(BY_NAME)} go by their names)"
        )
    if (kind == "vae") != (name == "vae"):
        raise ValueError(f"embedding {name!r}: there is one VAE, it is called vae and set under `vae`; kind: {kind}")
    return {**given, "kind": kind}


BY_NAME = ("vae", "pca")
EMBEDDING_KINDS: dict[str, type] = {
    "vae": VaeEmbedding,
    "pca": PcaEmbedding,
    "onnx": OnnxEmbedding,
    "imported": ImportedEmbedding,
}
Embedding = AnyEmbedding
EmbeddingOf = Annotated[AnyEmbedding, Field(discriminator="kind")]


class FrameSettings(_Settings):
    """Which frames of a clip are read, and how the 64x64 picture for similarity is cropped."""

    crop: Crop = "cone"
    crop_fraction: Fraction = 0.8  # the side of the window over the shorter side of the image
    side: Literal[64] = 64  # the VAE's four stride-2 convolutions are made for 64x64
    frame_stride: int = Field(1, ge=1)  # each n-th frame of a clip
    max_per_clip: int | None = Field(None, ge=1)  # evenly spaced


class SplitSettings(_Settings):
    """Which patients are the test side, where the manifest leaves it open."""

    test_share: Fraction = 0.25  # of a batch's new patients, per class where known; those the manifest names count
    salt: str = "enrich"
    keep_together: Literal["near_duplicates"] | None = None  # patients linked by nearly identical pictures: on one side
    by: Literal["patient", "site"] = "patient"  # site: whole sites on a side
    column: str | None = None  # of the sites that are drawn; None: the first of `sites`
    leave_out: str | None = None  # a site: it alone is the test side, everyone else trains


class SimilaritySettings(_Settings):
    """What is counted and kept of all pairs."""

    neighbours: int = Field(10, ge=1)
    near_duplicate: float = Field(0.98, gt=0, le=1)
    max_near_duplicates: int = Field(100_000, ge=0)
    store_matrix: bool = False  # keep the panel as a chunked Zarr array
    matrix_dtype: Literal["float16", "int32"] = "float16"
    max_pairs: int = Field(20_000_000_000, ge=1)  # beyond it redundancy is estimated from sampled pairs, and says so
    sampled_pairs: int = Field(5_000_000, ge=1000)


class TaskSettings(_Settings):
    """One thing a model learns from labelled frames, and the experiment that shows how few labels suffice."""

    kind: Annotated[str, AfterValidator(_known_kind)]
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
            _check_name("arm", name)
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
            return TypeAdapter(hyperparameters).validate_python(_with_one_length(self.training))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"training.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

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


class PhantomSettings(_Settings):
    """The built-in fetal-echo archive that `enrich demo` writes."""

    patients: int = Field(40, ge=2)
    seed: int = 0


class IncomingSettings(_Settings):
    """Where drops are looked for, and when one counts as complete."""

    url: str | None = None  # None: `incoming/` in home
    settle_seconds: float = Field(60, ge=0)  # a drop that has not changed for so long is complete
    drops_per_batch: int = Field(1, ge=1)  # so many complete drops at most become one batch together
    interval_seconds: int = Field(30, ge=5)  # between two looks of a sensor
    # A drop of DICOM files alone, once read: kept (it is your folder), or removed, so that no raw header stays in home.
    # Removed files cannot be decoded again with other settings. Drops with a manifest are always kept.
    after: Literal["keep", "remove"] = "keep"


class ScheduleSettings(_Settings):
    """What happens at fixed times."""

    recuration: str | None = "0 3 * * 1"  # cron: republish, extend worklists
    retraining: str | None = None  # cron: the whole grid; None: by hand


class TrackingSettings(_Settings):
    """Where MLflow and Dagster are."""

    uri: str | None = None  # None: sqlite in home
    ui_url: str | None = None  # where people open MLflow, for links
    dagster_url: str | None = None  # where people open Dagster, for links


class Profile(_Settings):
    """Everything a run needs to know that is not in the archive."""

    name: str = "archive"
    device: str | None = None  # None: CUDA if present, else CPU
    workers: int | None = Field(None, ge=1)  # trainings side by side; None: one on a GPU, else one per core up to 8
    frames: FrameSettings = FrameSettings()
    split: SplitSettings = SplitSettings()
    sites: tuple[str, ...] = ()  # manifest columns that say where a study comes from: hospital, scanner, source
    vae: VaeSettings = VaeSettings()
    vae_seed: int = 0
    embeddings: dict[str, EmbeddingOf] = Field({"vae": VaeEmbedding()}, min_length=1)
    similarity: SimilaritySettings = SimilaritySettings()
    tasks: dict[str, TaskSettings] = Field(min_length=1)
    curate_test_set: int | None = Field(
        None, ge=1
    )  # how many test frames to propose for labelling, by the same ranking
    phantom: PhantomSettings = PhantomSettings()
    incoming: IncomingSettings = IncomingSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    tracking: TrackingSettings = TrackingSettings()

    @field_validator("tasks")
    @classmethod
    def _tasks(cls, tasks: dict[str, TaskSettings]) -> dict[str, TaskSettings]:
        for name in tasks:
            _check_name("task", name)
            if name in ("archive", "embeddings"):
                raise ValueError(f"task {name!r}: keys of assets begin with this name already; take another one")
        return tasks

    @model_validator(mode="after")
    def _sites(self) -> Profile:
        if len(set(self.sites)) != len(self.sites) or not all(self.sites):
            raise ValueError("sites: names of manifest columns, each once")
        quotas = [name for name, task in self.tasks.items() if task.quota_per_site is not None]
        needs = [f"tasks.{name}.quota_per_site" for name in quotas] + ["split.by: site"] * (self.split.by == "site")
        if needs and not self.sites:
            raise ValueError(f"{needs[0]} needs `sites`: the manifest columns that name the sites, such as [hospital]")
        if self.split.by != "site" and (self.split.leave_out is not None or self.split.column is not None):
            raise ValueError("split.leave_out and split.column go with `by: site`")
        if self.split.column is not None and self.split.column not in self.sites:
            raise ValueError(f"split.column {self.split.column!r} is none of `sites`: {', '.join(self.sites)}")
        return self

    @property
    def split_column(self) -> str:
        """The manifest column of the sites that `split: {by: site}` draws. Raises IndexError without `sites`."""
        return self.split.column or self.sites[0]

    @field_validator("embeddings", mode="before")
    @classmethod
    def _kinds(cls, embeddings: Any) -> Any:
        named = embeddings if isinstance(embeddings, dict) else {}
        return {name: _with_kind(name, given) for name, given in named.items()} or embeddings

    @model_validator(mode="after")
    def _arms_name_embeddings(self) -> Profile:
        for task_name, task in self.tasks.items():
            for arm_name, arm in task.arms.items():
                if arm.embedding not in (None, *self.embeddings):
                    raise ValueError(
                        f"tasks.{task_name}.arms.{arm_name}: there is no embedding {arm.embedding!r}; embeddings: "
                        f"{', '.join(self.embeddings)}{did_you_mean(str(arm.embedding), self.embeddings)}"
                    )
        return self

    @property
    def default_embedding(self) -> str:
        """The first that is named: of arms that name none, of the worklist, and of the redundancy figure."""
        return next(iter(self.embeddings))

    def embedding_of(self, arm: ArmSettings) -> str:
        """Name of the embedding by which an arm compares frames."""
        return arm.embedding or self.default_embedding

    def embeddings_of(self, task: TaskSettings) -> list[str]:
        """Those whose panels a task needs, in the order of the profile: the default one, and those of its arms."""
        by_arms = {self.embedding_of(arm) for arm in task.arms.values() if rule_named(arm.rule).compares_frames}
        return [name for name in self.embeddings if name in {self.default_embedding, *by_arms}]

    def crop_of(self, task: TaskSettings | OnnxEmbedding) -> tuple[Crop, float]:
        """Crop and crop fraction of a task's (a network's) pictures: its own, else those of `frames`."""
        crop = task.crop if task.crop is not None else self.frames.crop
        return crop, task.crop_fraction or self.frames.crop_fraction
