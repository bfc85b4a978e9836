"""The other sections of a profile: frames, split, similarity, embeddings, and what comes in when."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from enrich_assets.method.hyperparameters import (
    AnyEmbedding,
    ImportedEmbedding,
    OnnxEmbedding,
    PcaEmbedding,
    VaeEmbedding,
)
from enrich_assets.settings.words import (
    Crop,
    Fraction,
    Section,
    check_name,
)

DEFAULT_EMBEDDINGS: dict[str, dict[str, str]] = {"vae": {}}


class FrameSettings(Section):
    """Which frames of a clip are read, and how the 64x64 picture for similarity is cropped."""

    crop: Crop = "cone"
    crop_fraction: Fraction = 0.8  # the side of the window over the shorter side of the image
    side: Literal[64] = 64  # the VAE's four stride-2 convolutions are made for 64x64
    frame_stride: int = Field(1, ge=1)  # each n-th frame of a clip
    max_per_clip: int | None = Field(None, ge=1)  # evenly spaced
    slices: Literal["stored", "axial", "coronal", "sagittal"] = (
        "stored"  # of volumes; stored: along the file's last axis
    )


class SplitSettings(Section):
    """Which patients are the test side, where the manifest leaves it open."""

    test_share: Fraction = 0.25  # of a batch's new patients, per class where known; those the manifest names count
    salt: str = "enrich"
    keep_together: Literal["near_duplicates"] | None = None  # patients linked by nearly identical pictures: on one side
    by: Literal["patient", "site"] = "patient"  # site: whole sites on a side
    column: str | None = None  # of the sites that are drawn; None: the first of `sites`
    leave_out: str | None = None  # a site: it alone is the test side, everyone else trains


class SimilaritySettings(Section):
    """What is counted and kept of all pairs."""

    neighbours: int = Field(10, ge=1)
    near_duplicate: float = Field(0.98, gt=0, le=1)
    max_near_duplicates: int = Field(100_000, ge=0)
    store_matrix: bool = False  # keep the panel as a chunked Zarr array
    matrix_dtype: Literal["float16", "int32"] = "float16"
    max_pairs: int = Field(20_000_000_000, ge=1)  # beyond it redundancy is estimated from sampled pairs, and says so
    sampled_pairs: int = Field(5_000_000, ge=1000)


def with_kind(name: str, given: Any) -> Any:
    """What an embedding is, where it does not say so: by what it names (`onnx`, `imported`), else by its own name."""
    check_name("embedding", name)
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


class PhantomSettings(Section):
    """The built-in fetal-echo archive that `enrich demo` writes."""

    patients: int = Field(40, ge=2)
    seed: int = 0


class IncomingSettings(Section):
    """Where drops are looked for, and when one counts as complete."""

    url: str | None = None  # None: `incoming/` in home
    settle_seconds: float = Field(60, ge=0)  # a drop that has not changed for so long is complete
    drops_per_batch: int = Field(1, ge=1)  # so many complete drops at most become one batch together
    interval_seconds: int = Field(30, ge=5)  # between two looks of a sensor
    # A drop of DICOM files alone, once read: kept (it is your folder), or removed, so that no raw header stays in home.
    # Removed files cannot be decoded again with other settings. Drops with a manifest are always kept.
    after: Literal["keep", "remove"] = "keep"


class ScheduleSettings(Section):
    """What happens at fixed times."""

    recuration: str | None = "0 3 * * 1"  # cron: republish, extend worklists
    retraining: str | None = None  # cron: the whole grid; None: by hand


class TrackingSettings(Section):
    """Where MLflow and Dagster are."""

    uri: str | None = (
        None  # of MLflow: a database, `env:NAME` for one named by the environment, or a server; None: sqlite in home
    )
    artifacts: str | None = (
        None  # where MLflow's files go (s3://..., a folder); None: beside the sqlite file, or the server's
    )
    dagster_storage: str | None = None  # of Dagster: postgresql://..., or `env:NAME`; None: sqlite in home
    ui_url: str | None = None  # where people open MLflow, for links; None: where `enrich ui` shows it
    dagster_url: str | None = None  # where people open Dagster, for links; None: where `enrich ui` shows it

    @model_validator(mode="after")
    def _artifacts_go_where_all_see_them(self) -> TrackingSettings:
        alone = self.uri is None or self.uri.startswith(("sqlite:", "http://", "https://", "databricks"))
        if not alone and self.artifacts is None:
            raise ValueError(
                "artifacts: say where MLflow's files go (s3://bucket/mlflow, or a folder that every node sees); without it each "
                "process would keep its own ./mlruns"
            )
        return self
