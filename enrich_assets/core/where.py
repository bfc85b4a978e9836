"""Where in the graph a step stands: of which task, arm and embedding it is, and what the profile says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enrich_assets.settings import ALL, ArmSettings, Embedding, Profile, TaskSettings


def arms_of(task: TaskSettings) -> dict[str, ArmSettings]:
    """The profile's arms, and the whole pool."""
    return {**task.arms, ALL: ArmSettings(rule="random")}


@dataclass(frozen=True)
class Where:
    """The names that stand in an asset's key. Empty where the asset is not of a task, an arm or an embedding."""

    profile: Profile
    task: str = ""
    arm: str = ""
    embedding: str = ""

    @property
    def task_settings(self) -> TaskSettings:
        """Of its task. Raises KeyError where it is of none."""
        return self.profile.tasks[self.task]

    @property
    def arm_settings(self) -> ArmSettings:
        """Of its arm. Raises KeyError where it is of none."""
        return arms_of(self.task_settings)[self.arm]

    def fill(self, template: str) -> str:
        """An asset key from a template such as `{task}/similarity/{embedding}`."""
        return template.format(task=self.task, arm=self.arm, embedding=self.own_embedding)

    @property
    def own_embedding(self) -> str:
        """The embedding that `{embedding}` stands for here: the one in the key, else the arm's own, else the first of the profile."""
        if self.embedding:
            return self.embedding
        return self.profile.embedding_of(self.arm_settings) if self.arm else self.profile.default_embedding

    @property
    def embedding_settings(self) -> Embedding:
        """Of the embedding that it is of."""
        return self.profile.embeddings[self.own_embedding]

    def each_arm(self) -> Iterator[Where]:
        """This place for each arm of its task, the whole pool last."""
        for arm in arms_of(self.task_settings):
            yield Where(self.profile, self.task, arm, self.embedding)

    def each_task(self) -> Iterator[Where]:
        """This place for each task of the profile."""
        for task in self.profile.tasks:
            yield Where(self.profile, task, "", self.embedding)

    def each_embedding(self) -> Iterator[Where]:
        """This place for each embedding of its task, or of the profile where it is of no task."""
        names = self.profile.embeddings_of(self.task_settings) if self.task else self.profile.embeddings
        for name in names:
            yield Where(self.profile, self.task, self.arm, name)


def places(template: str, profile: Profile) -> list[Where]:
    """Every place that a template names, in the order of the profile."""
    wheres = [Where(profile)]
    if "{task}" in template:
        wheres = [Where(profile, task) for task in profile.tasks]
    if "{arm}" in template:
        wheres = [arm for where in wheres for arm in where.each_arm()]
    if "{embedding}" in template:
        wheres = [embedding for where in wheres for embedding in where.each_embedding()]
    return wheres
