"""Keys of the assets of each stage, as the profile asks for them."""

from __future__ import annotations

from enrich_assets.settings import Profile

BATCH_ASSETS = ("studies", "frames", "split", "label_presence", "labels")
GRID_ASSETS = ("subset", "model", "evaluation")
VAE_WEIGHTS, EMBEDDING_HEALTH = "vae_weights", "embedding_health"
FITTED = ("vae", "pca")  # kinds of embedding with weights of their own


def fitted_assets(profile: Profile) -> list[str]:
    """Weights of the embeddings that are fitted to the archive once: the VAE, principal components."""
    return [f"{name}_weights" for name, embedding in profile.embeddings.items() if embedding.kind in FITTED]


def archive_assets(profile: Profile) -> list[str]:
    """Of the whole archive, by its first embedding: redundancy over all frames, and leaks."""
    return [f"archive/redundancy/{profile.default_embedding}", "leaks"]


def similarity_assets(profile: Profile) -> list[str]:
    """Of a batch: its embeddings, the archive's panel, then each task's pool and the panels that its arms need."""
    keys = [f"embeddings/{name}" for name in profile.embeddings]
    keys.append(f"archive/similarity/{profile.default_embedding}")
    for task, settings in profile.tasks.items():
        keys += [f"{task}/pool", *(f"{task}/similarity/{name}" for name in profile.embeddings_of(settings))]
    return keys


def summary_assets(profile: Profile, task: str) -> list[str]:
    """Of a task: its redundancy over all batches, by each of its embeddings, and its test set."""
    names = profile.embeddings_of(profile.tasks[task])
    return [*(f"{task}/redundancy/{name}" for name in names), f"{task}/test_set"]


def length_asset(task: str) -> str:
    """Key of the number of steps of a task's trainings, where the profile leaves it to the data."""
    return f"{task}/training_length"
