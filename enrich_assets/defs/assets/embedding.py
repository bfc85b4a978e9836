"""From frames to vectors by the beta-VAE, its health, and what must hold of the vectors of any embedding."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Vectors
from enrich_assets.archive.frames import SIMILARITY, Frames, Split, ViewOfFrames
from enrich_assets.archive.values import Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import every, part, same, up_to
from enrich_assets.core.step import CellContext, CheckOutcome, Picture, StepOutput, check, step
from enrich_assets.core.where import Where
from enrich_assets.defs.automation import by_batch
from enrich_assets.method.embeddings.fixed_point import SCALE, to_fixed_point
from enrich_assets.store.receipts import MissingArtefact

GROUP = "embedding"
DRIFT_LIMIT = 2.0  # reconstruction error of a batch over that of the frames the VAE knows
HOW_TO_GO_ON = "`embeddings: {{{name}: {{despite_health: true}}}}` goes on all the same"
UNIT_TOLERANCE = 2e-3  # of the length of a vector, by rounding to whole numbers


def of_kind(kind: str) -> Callable[[Where], bool]:
    """Whether a place is of an embedding of that kind."""
    return lambda where: where.embedding_settings.kind == kind


def has_vae(where: Where) -> bool:
    """Whether the profile names the VAE."""
    return "vae" in where.profile.embeddings


def similarity_view(where: Where, frames: Frames) -> ViewOfFrames:
    """The frames at 64x64: what a task's own pictures look like makes no embedding stale."""
    return frames.in_view(SIMILARITY)


# --------------------------------------------------------------------------------------------------------------- VAE


@step(
    "vae_weights",
    only=has_vae,
    reads={"frames": every("frames", counts=False), "split": every("split", counts=False)},
    settings=lambda where: {"training": where.profile.vae.training_fields(), "seed": where.profile.vae_seed},
    group=GROUP,
    kinds=("pytorch",),
    pool="gpu",
)
def vae_weights(cell: CellContext, frames: Frames, split: Split) -> StepOutput:
    """beta-VAE after Burgess et al. (arXiv 1804.03599). Retrained only on purpose, never because a study arrived."""
    from enrich_assets.method.embeddings.health import measure
    from enrich_assets.method.embeddings.vae import embed, reconstruct, train_vae
    from enrich_assets.report.figures import reconstructions_png, vae_curves_png

    vae = cell.where.profile.vae
    train = train_frames(frames, split)
    pixels = frames.pixels(SIMILARITY, train)
    patients, clips = pd.factorize(train["patient_id"])[0], pd.factorize(train["clip_id"])[0]
    with cell.progress("training", "steps") as advance:
        trained = train_vae(
            pixels,
            patients,
            vae,
            seed=cell.settings["seed"],
            device=cell.device,
            progress=advance,
            resume=cell.checkpoint(),
            save=cell.save_checkpoint,
        )
    measures = measure(trained.weights, pixels, clips, vae, device=cell.device)
    history = pd.DataFrame(trained.history)
    sample = pixels[:: max(1, len(pixels) // 10)][:10]
    rebuilt = np.rint(255 * reconstruct(trained.weights, sample, vae, device=cell.device)).astype(np.uint8)
    pictures = {"reconstructions": reconstructions_png(sample, rebuilt), "curves": vae_curves_png(history)}
    means = embed(trained.weights, pixels[trained.trained_on], vae, device=cell.device)
    trained_on = train.loc[trained.trained_on]
    metrics = {
        "train_frames": len(trained_on),
        "train_patients": int(trained_on["patient_id"].nunique()),
        "train_batches": sorted(set(map(str, train["batch"]))),
        "mean_embedding": [round(float(v), 6) for v in _unit(means).mean(axis=0)],
        "reconstruction_error": float(measures.reconstruction_error),
        "measures": measures.to_json(),
    }
    return StepOutput(
        weights={"vae": trained.weights},
        notes={f"{title}.png": png for title, png in pictures.items()},
        note_tables={"history": history},
        metrics=metrics,
        metadata={
            **{title: Picture(png, title) for title, png in pictures.items()},
            "history": history.tail(8).round(4),
        },
    )


def train_frames(frames: Frames, split: Split) -> pd.DataFrame:
    """The frame table of train patients. Raises MissingArtefact where there are none."""
    table = frames.with_sides(split)
    train = table[table["split"] == "train"].reset_index(drop=True)
    if train.empty:
        raise MissingArtefact(
            f"no train frames: all {len(table)} frames belong to test patients; give some patients split=train in the "
            "manifest, or lower split.test_share"
        )
    return train


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def judged(vae: Value, where: Where) -> Any:
    """What the profile's thresholds make of the measures in the receipt; the weights are not needed for it."""
    from enrich_assets.method.embeddings.health import HealthMeasures, judge

    return judge(HealthMeasures.from_json(vae.metrics["measures"]), where.profile.vae)


def outcome(collapse: Sequence[str], warnings: Sequence[str], measured: str, where: Where, name: str) -> CheckOutcome:
    """A collapse blocks, unless the profile says to go on despite it: then the outcome says that it was overridden."""
    overridden = bool(collapse) and where.profile.embeddings[name].despite_health
    sentences = [*collapse, *(f"warning: {warning}" for warning in warnings), measured]
    if overridden:
        sentences.insert(0, f"OVERRIDDEN by embeddings.{name}.despite_health")
    elif collapse:
        sentences.insert(len(collapse), HOW_TO_GO_ON.format(name=name))
    return CheckOutcome(overridden or not collapse, "; ".join(filter(None, sentences)))


def despite_health(where: Where) -> bool:
    """Whether the profile goes on with an embedding whatever its health says."""
    return where.embedding_settings.despite_health


@check(
    "vae_weights",
    only=has_vae,
    reads={"vae": same("vae_weights")},
    settings=lambda where: [where.profile.vae.health_fields(), where.profile.embeddings["vae"].despite_health],
    version=2,
    blocking=True,
)
def health(cell: CellContext, vae: Value) -> CheckOutcome:
    """Active units; reconstruction against the mean image and same-clip retrieval against chance warn."""
    health, measures = judged(vae, cell.where), vae.metrics["measures"]
    measured = (
        f"{health.active_units} of {len(measures['unit_variances'])} units active; reconstruction error "
        f"{_number(measures['reconstruction_error'])} against {_number(measures['mean_image_error'])} of the mean image; same-clip "
        f"retrieval {_rate(measures['retrieval_rank1'])} against {_rate(measures['retrieval_chance'])} by chance"
    )
    return outcome(health.reasons, health.warnings, measured, cell.where, "vae")


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.4g}"


def _rate(value: float | None) -> str:
    return "not measurable" if value is None else f"{value:.3f}"


# -------------------------------------------------------------------------------------------------------- embeddings


@step(
    "embeddings/{embedding}",
    Partitions.BATCH,
    only=of_kind("vae"),
    reads={"frames": part(same("frames"), similarity_view), "vae": same("vae_weights")},
    holds=Vectors,
    group=GROUP,
    kinds=("pytorch", "numpy"),
    automation=by_batch(healthy="vae_weights"),
    pool="gpu",
)
def embeddings(cell: CellContext, frames: ViewOfFrames, vae: Value) -> StepOutput:
    """The 128 means of the bottleneck, unit length, in fixed point (int16, 4000 = 1)."""
    from enrich_assets.method.embeddings.vae import embed, reconstruct

    settings, weights = cell.where.profile.vae, vae.weights("vae")
    ids = frames.table[["frame_id"]]
    if not len(ids):
        return StepOutput({"frames": ids}, {"vectors": np.empty((0, settings.latent), np.int16)}, metrics={"frames": 0})
    pixels = frames.pixels()
    with cell.progress("embedding", "frames") as advance:
        means = embed(weights, pixels, settings, device=cell.device, progress=advance)
    sample = pixels[:: max(1, len(pixels) // 200)]
    rebuilt = reconstruct(weights, sample, settings, device=cell.device)
    centre, direction = np.asarray(vae.metrics["mean_embedding"]), _unit(means).mean(axis=0)
    norms = np.linalg.norm(direction) * np.linalg.norm(centre)
    metrics = {
        "frames": len(ids),
        "reconstruction_error": float(np.mean((sample / 255.0 - rebuilt) ** 2)),
        "mean_direction_shift": round(float(1 - direction @ centre / max(norms, 1e-12)), 4),
    }
    return StepOutput({"frames": ids}, {"vectors": to_fixed_point(means)}, metrics=metrics)


@check("embeddings/{embedding}", Partitions.BATCH, reads={"vectors": same("embeddings/{embedding}")}, blocking=True)
def unit_length(cell: CellContext, vectors: Vectors) -> CheckOutcome:
    """Every stored vector is of unit length, and each belongs to a frame."""
    stored, ids = vectors.array("vectors"), vectors.table("frames")
    lengths = np.linalg.norm(stored.astype(np.float64), axis=1) / SCALE
    wrong = np.flatnonzero(np.abs(lengths - 1) > UNIT_TOLERANCE)
    if len(stored) != len(ids):
        return CheckOutcome(False, f"{len(stored):,} vectors for {len(ids):,} frames: embed this batch again")
    first = f", the first {ids['frame_id'].iloc[wrong[0]]} with length {lengths[wrong[0]]:.3f}" if len(wrong) else ""
    return CheckOutcome(not len(wrong), f"{len(wrong):,} of {len(stored):,} vectors are not of unit length{first}")


def separation_settings(where: Where) -> dict[str, Any]:
    """What a verdict on separation depends on; of the baseline, principal components, nothing blocks."""
    kind = where.embedding_settings.kind
    ratio = where.profile.vae.min_retrieval_ratio
    return {"may_block": kind != "pca", "despite_health": despite_health(where), "min_retrieval_ratio": ratio}


CURES = {
    "vae": "lower vae.beta or raise vae.max_steps and vae.patience, then `enrich run --refit vae`",
    "pca": "",
    "onnx": "look at size, mean, std and output, or use another network",
    "imported": "look whether the vectors belong to these frame_ids",
}


@check(
    "embeddings/{embedding}",
    Partitions.BATCH,
    reads={
        "vectors": up_to("embeddings/{embedding}"),
        "frames": part(up_to("frames"), similarity_view),
    },
    settings=separation_settings,
    blocking=True,
)
def tells_frames_apart(cell: CellContext, vectors: Vectors, frames: ViewOfFrames) -> CheckOutcome:
    """Cosines between patients are spread, and the nearest frame is not less often of the same patient than by chance."""
    from enrich_assets.method.embeddings.separation import CLIP, PATIENT, judge_separation, measure_separation

    table, new = frames.table, frames.table["batch"] == cell.partition
    table = pd.concat([table[~new], table[new]])
    if not new.any():
        return CheckOutcome(True, "no frames")
    measures = measure_separation(
        vectors.of(table), table["clip_id"].to_numpy(), table["patient_id"].to_numpy(), n_earlier=int((~new).sum())
    )
    verdict = judge_separation(measures, min_retrieval_ratio=cell.settings["min_retrieval_ratio"])
    rates = [
        f"nearest frame of the {name} {_rate(found.rank1)} against {_rate(found.chance)} by chance"
        for name, found in ((one, measures.retrieval[one]) for one in (CLIP, PATIENT))
    ]
    cosines = measures.cosines
    spread = (
        f"cosines between patients {cosines[0]:.3f} to {cosines[2]:.3f} (5th to 95th percentile)" if cosines else ""
    )
    measured = "; ".join(filter(None, [spread, *rates]))
    if not cell.settings["may_block"]:
        return outcome((), [*verdict.collapse, *verdict.warnings], measured, cell.where, cell.where.own_embedding)
    cure = CURES[cell.where.embedding_settings.kind]
    collapse = [f"{sentence}: {cure}" for sentence in verdict.collapse]
    return outcome(collapse, verdict.warnings, measured, cell.where, cell.where.own_embedding)


@check(
    "embeddings/{embedding}",
    Partitions.BATCH,
    only=of_kind("vae"),
    reads={"vectors": same("embeddings/{embedding}"), "vae": same("vae_weights")},
)
def drift(cell: CellContext, vectors: Vectors, vae: Value) -> CheckOutcome:
    """The batch looks like what the VAE was trained on."""
    if not vectors.metrics["frames"]:
        return CheckOutcome(True, "no frames")
    error, known = vectors.metrics["reconstruction_error"], vae.metrics["reconstruction_error"]
    drifted = error > DRIFT_LIMIT * known and cell.partition not in vae.metrics["train_batches"]
    return CheckOutcome(
        not drifted,
        f"reconstruction error {error:.4g} against {known:.4g} in training ({error / known:.2f}x); mean direction moved by "
        f"{vectors.metrics['mean_direction_shift']:.3f}"
        + ("; the VAE does not know such frames: `enrich run --retrain-vae`" if drifted else ""),
    )
