"""From frames to vectors in other ways than the VAE: principal components, a network from an ONNX file, vectors made elsewhere."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Vectors
from enrich_assets.archive.embeddings import EmbeddingModel, ImportedVectors
from enrich_assets.archive.frames import SIMILARITY, Frames, Split, ViewOfFrames, embedding_view
from enrich_assets.archive.values import Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import Read, every, part, same, source
from enrich_assets.core.step import CellContext, StepOutput, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.embedding import GROUP, of_kind, similarity_view, train_frames
from enrich_assets.defs.automation import by_batch
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.method.hyperparameters import OnnxEmbedding, PcaEmbedding
from enrich_assets.store.receipts import MissingArtefact

NAMED = 5  # frames named in a message


def in_fixed_point(vectors: np.ndarray, ids: pd.Series, where: Where) -> StepOutput:
    """Vectors as every embedding is stored. Raises MissingArtefact where some have no direction, naming the first frames."""
    wrong = ids[~(np.isfinite(vectors).all(axis=1) & vectors.any(axis=1))].tolist()
    if wrong:
        raise MissingArtefact(
            f"{where.own_embedding} gives {len(wrong):,} frames a vector that is zero or not finite, which has no direction "
            f"(first: {', '.join(wrong[:NAMED])}); leave these frames out, or use another embedding"
        )
    fixed = to_fixed_point(vectors) if len(vectors) else np.empty((0, max(1, vectors.shape[1])), np.int16)
    metrics = {"frames": len(ids), "dimensions": int(fixed.shape[1])}
    return StepOutput({"frames": ids.to_frame("frame_id")}, {"vectors": fixed}, metrics=metrics)


# --------------------------------------------------------------------------------------------------- principal components


def _pca(where: Where) -> PcaEmbedding:
    settings = where.embedding_settings
    assert isinstance(settings, PcaEmbedding)
    return settings


@step(
    "{embedding}_weights",
    only=of_kind("pca"),
    reads={"frames": every("frames", counts=False), "split": every("split", counts=False)},
    settings=lambda where: {"dimensions": _pca(where).dimensions, "fit_frames": _pca(where).fit_frames},
    group=GROUP,
    kinds=("numpy", "scipy"),
)
def pca_weights(cell: CellContext, frames: Frames, split: Split) -> StepOutput:
    """Principal components of the 64x64 pixels of train frames. Fitted again only on purpose, never because a study arrived."""
    from enrich_assets.method.embeddings.pca import fit_pca
    from enrich_assets.method.embeddings.separation import spaced

    train = train_frames(frames, split)
    fitted_to = train.iloc[spaced(len(train), cell.settings["fit_frames"])]
    try:
        fitted = fit_pca(frames.pixels(SIMILARITY, fitted_to), cell.settings["dimensions"])
    except ValueError as error:
        raise MissingArtefact(f"{cell.cell}: {error}") from error
    metrics = {
        "train_frames": len(fitted_to),
        "train_patients": int(fitted_to["patient_id"].nunique()),
        "train_batches": sorted(set(map(str, train["batch"]))),
        "dimensions": len(fitted.components),
        "variance_share": round(float(fitted.variance_share.sum()), 6),
    }
    return StepOutput(
        arrays={"components": fitted.components, "offsets": fitted.offsets},
        metrics=metrics,
        metadata={"variance": pd.DataFrame({"share": fitted.variance_share.round(4)}).head(20)},
    )


@step(
    "embeddings/{embedding}",
    Partitions.BATCH,
    only=of_kind("pca"),
    reads={"frames": part(same("frames"), similarity_view), "weights": same("{embedding}_weights")},
    holds=Vectors,
    group=GROUP,
    kinds=("numpy",),
    automation=by_batch(),
)
def pca_embeddings(cell: CellContext, frames: ViewOfFrames, weights: Value) -> StepOutput:
    """Where frames lie along the principal components, unit length, in fixed point (int16, 4000 = 1)."""
    from enrich_assets.method.embeddings.pca import PrincipalComponents, project

    components = weights.array("components")
    fitted = PrincipalComponents(components, weights.array("offsets"), np.empty(0))
    pixels = frames.pixels() if len(frames.table) else np.empty((0, 1, components.shape[1]), np.uint8)
    return in_fixed_point(project(fitted, pixels), frames.table["frame_id"], cell.where)


# -------------------------------------------------------------------------------------------------------- ONNX networks


def network_view(where: Where, frames: Frames) -> ViewOfFrames:
    """The frames at the size the network takes."""
    return frames.in_view(embedding_view(where.own_embedding))


def _onnx(where: Where) -> OnnxEmbedding:
    settings = where.embedding_settings
    assert isinstance(settings, OnnxEmbedding)
    return settings


def _onnx_reads(where: Where) -> Mapping[str, Read]:
    model = source(f"embedding_model/{where.own_embedding}")
    return {"frames": part(same("frames"), network_view), "model": model}


def _onnx_settings(where: Where) -> Mapping[str, object]:
    """What the vectors depend on beside the pictures and the file's content: not where the file lies."""
    settings = _onnx(where)
    mean, std = settings.normalisation
    wanted = ("size", "channels", "output", "pool")
    return {"mean": mean, "std": std, **{name: getattr(settings, name) for name in wanted}}


@step(
    "embeddings/{embedding}",
    Partitions.BATCH,
    only=of_kind("onnx"),
    reads=_onnx_reads,
    settings=_onnx_settings,
    holds=Vectors,
    group=GROUP,
    kinds=("onnx", "numpy"),
    automation=by_batch(),
    pool="gpu",
)
def onnx_embeddings(cell: CellContext, frames: ViewOfFrames, model: EmbeddingModel) -> StepOutput:
    """What the network makes of each frame, unit length, in fixed point (int16, 4000 = 1)."""
    from enrich_assets.method.embeddings.onnx import OnnxModel

    ids = frames.table["frame_id"]
    if not len(ids):
        return in_fixed_point(np.empty((0, 1), np.float32), ids, cell.where)
    try:
        network = OnnxModel(model.file.read(), _onnx(cell.where))
        with cell.progress("embedding", "frames") as advance:
            vectors = network.embed(frames.pixels(), progress=advance)
    except ValueError as error:
        raise model.file.unusable(str(error)) from error
    output = in_fixed_point(vectors, ids, cell.where)
    return StepOutput(output.tables, output.arrays, metrics={**output.metrics, "model_sha256": model.digest})


# -------------------------------------------------------------------------------------------------- vectors made elsewhere


def _imported_reads(where: Where) -> Mapping[str, Read]:
    given = source(f"imported_vectors/{where.own_embedding}", of=("frames",))
    return {"frames": part(same("frames"), similarity_view), "given": given}


@step(
    "embeddings/{embedding}",
    Partitions.BATCH,
    only=of_kind("imported"),
    reads=_imported_reads,
    holds=Vectors,
    group=GROUP,
    kinds=("parquet",),
    automation=by_batch(),
)
def imported_embeddings(cell: CellContext, frames: ViewOfFrames, given: ImportedVectors) -> StepOutput:
    """Vectors made elsewhere, matched by frame_id, unit length, in fixed point (int16, 4000 = 1)."""
    output = in_fixed_point(given.vectors, frames.table["frame_id"], cell.where)
    return StepOutput(output.tables, output.arrays, metrics={**output.metrics, "for_other_frames": given.n_others})
