"""The profile: tasks, arms, budgets, seeds, training, as a model that is checked before anything runs.

The model alone: its fields, their defaults, what they may be. Reading it from YAML is in `profiles`.
"""

from enrich_assets.settings.engine import LocalEngineSettings, RayEngineSettings
from enrich_assets.settings.profile import Profile
from enrich_assets.settings.sections import (
    DEFAULT_EMBEDDINGS,
    EMBEDDING_KINDS,
    Embedding,
    FrameSettings,
    IncomingSettings,
    PhantomSettings,
    ScheduleSettings,
    SimilaritySettings,
    SplitSettings,
    TrackingSettings,
)
from enrich_assets.settings.tasks import DEFAULT_ARMS, ArmSettings, TaskSettings
from enrich_assets.settings.words import ALL, BudgetKey, Crop, budget_frames, did_you_mean
from enrich_assets.settings.wrong_values import in_words

__all__ = [
    "ALL",
    "DEFAULT_ARMS",
    "DEFAULT_EMBEDDINGS",
    "EMBEDDING_KINDS",
    "ArmSettings",
    "BudgetKey",
    "Crop",
    "Embedding",
    "FrameSettings",
    "IncomingSettings",
    "LocalEngineSettings",
    "PhantomSettings",
    "Profile",
    "RayEngineSettings",
    "ScheduleSettings",
    "SimilaritySettings",
    "SplitSettings",
    "TaskSettings",
    "TrackingSettings",
    "budget_frames",
    "did_you_mean",
    "in_words",
]
