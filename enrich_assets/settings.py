"""The profile: tasks, arms, budgets, seeds, training; and where home is. Read from YAML, checked before anything runs.

A profile may extend another (`extends: demo`): what it says replaces what the other said, key by key.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from enrich_assets.method.hyperparameters import ClassifierSettings, SegmenterSettings, VaeSettings

BUILT_IN = ("archive", "demo", "paper")
ALL = "all"  # the arm, and the budget key, of the whole pool
NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class ProfileError(ValueError):
    """A profile that cannot be used: says the file, the line, what is wrong and what is allowed."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Crop = Literal["cone", "none"] | tuple[int, int, int]
Share = Annotated[float, Field(gt=0, le=1)]


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
    """How many frames a budget buys of a pool of that size."""
    if key == ALL:
        return pool
    return max(1, round(float(key[:-1]) / 100 * pool)) if key.endswith("%") else int(key)


def _class_name(value: Any) -> Any:
    """Classes are names; a number without quotes is taken as one, YAML's yes and no are not."""
    if isinstance(value, bool):
        raise ValueError(f"YAML reads yes, no, on and off as {value}; put the name between quotes")
    return str(value) if isinstance(value, int) else value


ClassName = Annotated[str, BeforeValidator(_class_name)]


class ArmSettings(_Settings):
    """A way to choose."""

    rule: Literal["max", "mean", "facility-location", "random"] = "max"
    similarity: Literal["cosine", "ssim", "pixels"] = "cosine"


class FrameSettings(_Settings):
    """Which frames of a clip are taken, and how the 64x64 picture for similarity is cut."""

    crop: Crop = "cone"
    share: Share = 0.8  # the side of the window over the shorter side of the image
    side: Literal[64] = 64  # the VAE's four stride-2 convolutions are made for 64x64
    every: int = Field(1, ge=1)  # each n-th frame of a clip
    max_per_clip: int | None = Field(None, ge=1)  # evenly spaced


class SplitSettings(_Settings):
    test_share: Share = 0.25  # of the patients, unless the manifest decides
    salt: str = "enrich"


class SimilaritySettings(_Settings):
    neighbours: int = Field(10, ge=1)
    near_duplicate: float = Field(0.98, gt=0, le=1)
    max_near_duplicates: int = Field(100_000, ge=0)
    store_matrix: bool = False  # keep the panel as a chunked Zarr array
    matrix_dtype: Literal["float16", "int32"] = "float16"
    max_pairs: int = Field(20_000_000_000, ge=1)  # beyond it redundancy is estimated from sampled pairs, and says so
    sampled_pairs: int = Field(5_000_000, ge=1000)


class TaskSettings(_Settings):
    """One thing a model learns from labelled frames, and the experiment that shows how few labels suffice."""

    kind: Literal["classification", "segmentation"]
    label: str = "label"  # the manifest column (classification)
    classes: tuple[ClassName, ...] | None = None  # None: those found in the archive, in alphabetical order
    positive: ClassName | None = None  # of two classes; None: the last
    ignore: tuple[ClassName, ...] = ()  # label values that are no answer ("unsure")
    crop: Crop | None = None  # None: as `frames`
    share: Share | None = None
    size: int = Field(80, ge=16)  # side of the square the model sees, in pixels
    start: BudgetKey = "1000"  # random frames common to all arms
    budgets: tuple[BudgetKey, ...] = Field(min_length=1)
    seeds: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...] = 10
    arms: dict[str, ArmSettings] = Field(
        default_factory=lambda: {"enrich": ArmSettings(), "random": ArmSettings(rule="random")}
    )
    growth: Literal["extend", "restart"] = "extend"  # when studies arrive: keep the labels bought, or rank anew
    training: dict[str, Any] = Field(default_factory=dict)
    alpha: float = Field(0.05, gt=0, lt=1)
    margin: float | None = Field(None, gt=0)  # of equivalence to the full set; None: 0.01 AUC, 0.02 Jaccard
    seconds_per_label: float | None = Field(None, gt=0)  # None: 1 s a frame, 5 min a mask
    worklist: int = Field(200, ge=1)
    quota_per_patient: int | None = Field(None, ge=1)
    quota_per_clip: int | None = Field(None, ge=1)
    class_aware: bool = False

    @field_validator("arms")
    @classmethod
    def _arms(cls, arms: dict[str, ArmSettings]) -> dict[str, ArmSettings]:
        for name in arms:
            if name == ALL:
                raise ValueError("the arm 'all' (the whole pool) is always there; give this one another name")
            if not NAME.match(name):
                raise ValueError(f"arm {name!r}: letters, digits and underscores, a letter first")
        return arms

    @model_validator(mode="after")
    def _whole(self) -> TaskSettings:
        self.model_settings  # noqa: B018  raises for wrong training keys
        if self.classes is not None:
            if self.positive is not None and self.positive not in self.classes:
                raise ValueError(f"positive {self.positive!r} is none of the classes {list(self.classes)}")
            if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
                raise ValueError("classes: at least two, each once (segmentation: the background first)")
        if len(set(self.budgets)) != len(self.budgets):
            raise ValueError("budgets: each once")
        return self

    @cached_property
    def model_settings(self) -> Any:
        """The network's hyper-parameters: the paper's, but for what `training` says."""
        from pydantic import TypeAdapter

        kind: Any = ClassifierSettings if self.kind == "classification" else SegmenterSettings
        allowed = set(kind.__dataclass_fields__)
        unknown = set(self.training) - allowed
        if unknown:
            raise ValueError(f"training: {sorted(unknown)} unknown; allowed: {sorted(allowed)}")
        try:
            return TypeAdapter(kind).validate_python(self.training)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"training.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    @property
    def seed_list(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def metric(self) -> Literal["auc", "jaccard"]:
        return "auc" if self.kind == "classification" else "jaccard"

    @property
    def equivalence_margin(self) -> float:
        return self.margin if self.margin is not None else 0.01 if self.kind == "classification" else 0.02

    @property
    def label_seconds(self) -> float:
        if self.seconds_per_label is not None:
            return self.seconds_per_label
        return 1.0 if self.kind == "classification" else 300.0

    def start_frames(self, pool: int) -> int:
        """Size of the random start set that all arms share: never more than the pool."""
        return min(budget_frames(self.start, pool), pool)


class PhantomSettings(_Settings):
    """The built-in fetal-echo archive that `enrich demo` writes."""

    patients: int = Field(40, ge=2)
    seed: int = 0


class IncomingSettings(_Settings):
    """Where drops arrive, and when one counts as complete."""

    url: str | None = None  # None: `incoming/` in home
    quiet_seconds: float = Field(60, ge=0)
    gather: int = Field(1, ge=1)  # so many complete drops at most become one batch together
    every_seconds: int = Field(30, ge=5)
    # A drop of DICOM files alone, once read: kept (it is your folder), or removed, so that no raw header stays in home.
    # Removed files cannot be decoded again with other settings. Drops with a manifest are always kept.
    after: Literal["keep", "remove"] = "keep"


class ScheduleSettings(_Settings):
    recuration: str | None = "0 3 * * 1"  # cron: republish, extend worklists
    retraining: str | None = None  # cron: the whole grid; None: by hand


class TrackingSettings(_Settings):
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
    vae: VaeSettings = VaeSettings()
    vae_seed: int = 0
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
            if not NAME.match(name):
                raise ValueError(f"task {name!r}: letters, digits and underscores, a letter first")
        return tasks

    def crop_of(self, task: TaskSettings) -> tuple[Crop, float]:
        return (task.crop if task.crop is not None else self.frames.crop, task.share or self.frames.share)


def settings_dict(value: Any) -> Any:
    """A JSON-able form of settings, for digests."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return asdict(value)


# ---------------------------------------------------------------------------------------------------- home and reading


def home() -> Path:
    """`ENRICH_HOME`, or `data/` where we stand."""
    return Path(os.environ.get("ENRICH_HOME") or "data").resolve()


def profile_source(home_folder: Path) -> str:
    """What names the profile: `ENRICH_PROFILE`, else home's `enrich.yaml`, else the one for any archive."""
    named = os.environ.get("ENRICH_PROFILE")
    if named:
        return named
    own = home_folder / "enrich.yaml"
    return str(own) if own.exists() else "archive"


def load_profile(source: str) -> Profile:
    """A built-in profile by name, or a YAML file. Raises ProfileError."""
    merged, lines = _read(source, seen=())
    try:
        return Profile.model_validate(merged)
    except ValidationError as error:
        raise ProfileError("\n".join(_explain(source, e, lines) for e in error.errors())) from error


Lines = dict[tuple[str, ...], tuple[str, int]]


def _read(source: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], Lines]:
    if source in seen:
        raise ProfileError(f"{source}: `extends` goes in a circle: {' -> '.join((*seen, source))}")
    text, shown = _text(source)
    try:
        node = yaml.compose(text)
        said = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ProfileError(f"{shown}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict):
        raise ProfileError(f"{shown}, line 1: a profile is a mapping of settings (tasks: ..., vae: ...)")
    lines: Lines = {}
    _number(node, (), shown, lines)
    parent = said.pop("extends", None)
    if parent is None:
        return said, lines
    if str(parent) not in BUILT_IN and not Path(str(parent)).is_absolute():
        parent = str(Path(source).resolve().parent / str(parent))
    base, base_lines = _read(str(parent), (*seen, source))
    return _merge(base, said), {**base_lines, **lines}


def _text(source: str) -> tuple[str, str]:
    if source in BUILT_IN:
        name = f"{source}.yaml"
        return resources.files("enrich_assets.profiles").joinpath(name).read_text(encoding="utf-8"), name
    path = Path(source)
    if not path.is_file():
        raise ProfileError(f"{source}: no such profile; name a YAML file, or one of {', '.join(BUILT_IN)}")
    return path.read_text(encoding="utf-8-sig"), str(path)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings merge; anything else replaces. A task or arm set to null is taken out."""
    merged = dict(base)
    for key, value in over.items():
        if value is None and isinstance(merged.get(key), dict):
            merged.pop(key)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _number(node: Any, at: tuple[str, ...], shown: str, lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            lines[here] = (shown, key.start_mark.line + 1)
            _number(value, here, shown, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*at, str(index))
            lines[here] = (shown, value.start_mark.line + 1)
            _number(value, here, shown, lines)


def _explain(source: str, error: Any, lines: Lines) -> str:
    at = tuple(str(part) for part in error["loc"])
    known = at
    while known and known not in lines:
        known = known[:-1]
    file, line = lines.get(known, (source, 1))
    where = f"{file}, line {line}: {'.'.join(at) or 'profile'}"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _allowed(at[:-1])
        return f"{where} is no setting" + (f"; allowed here: {', '.join(allowed)}" if allowed else "")
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (is: {str(error.get('input'))[:60]!r})"


def _allowed(at: tuple[str, ...]) -> list[str]:
    """Names of the settings at a place in the profile."""
    here: Any = Profile
    for part in at:
        if isinstance(here, type) and issubclass(here, BaseModel):
            annotation = here.model_fields[part].annotation if part in here.model_fields else None
            if part == "tasks":
                here = {"": TaskSettings}
            elif part == "arms":
                here = {"": ArmSettings}
            else:
                here = annotation
        elif isinstance(here, dict):
            here = here[""]
        else:
            return []
    if isinstance(here, type) and issubclass(here, BaseModel):
        return sorted(here.model_fields)
    return sorted(getattr(here, "__dataclass_fields__", {}))
