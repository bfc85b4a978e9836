"""The profile as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from enrich_assets.method.hyperparameters import (
    OnnxEmbedding,
    VaeEmbedding,
    VaeSettings,
)
from enrich_assets.method.ranking import rule_named
from enrich_assets.settings.engine import EngineOf, LocalEngineSettings
from enrich_assets.settings.sections import (
    EmbeddingOf,
    FrameSettings,
    IncomingSettings,
    PhantomSettings,
    ScheduleSettings,
    SimilaritySettings,
    SplitSettings,
    TrackingSettings,
    with_kind,
)
from enrich_assets.settings.tasks import ArmSettings, TaskSettings
from enrich_assets.settings.words import (
    Crop,
    Section,
    check_name,
    did_you_mean,
)


class Profile(Section):
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
    engine: EngineOf = LocalEngineSettings()

    @field_validator("tasks")
    @classmethod
    def _tasks(cls, tasks: dict[str, TaskSettings]) -> dict[str, TaskSettings]:
        for name in tasks:
            check_name("task", name)
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
        return {name: with_kind(name, given) for name, given in named.items()} or embeddings

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
