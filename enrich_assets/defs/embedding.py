"""From frames to vectors: the beta-VAE, its health, and the fixed-point embeddings of each batch."""

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.defs.arrival import markdown
from enrich_assets.defs.automation import by_batch
from enrich_assets.defs.partitions import batches, for_lineage_only
from enrich_assets.defs.steps import Made, Step, Work, dep, digests, per_batch
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.settings import Profile, settings_dict
from enrich_assets.store.frames import SIMILARITY
from enrich_assets.store.receipts import MissingArtefact

GROUP = "embedding"
CHECKPOINT = "checkpoint"
DRIFT_LIMIT = 2.0  # reconstruction error of a batch over that of the frames the VAE knows


def steps(profile: Profile) -> list[Step]:
    return [
        Step(
            key="vae_weights",
            partitions=None,
            inputs=lambda archive, _: per_batch(archive, "frames", "split"),
            make=_vae,
            settings=[settings_dict(profile.vae), profile.vae_seed],
            group=GROUP,
            kinds=("pytorch",),
            description="beta-VAE after Burgess et al. (arXiv 1804.03599). Retrained only on purpose, never because a study arrived.",
            deps=(dep("frames", for_lineage_only), dep("split", for_lineage_only)),
            checks=(
                dg.AssetCheckSpec(
                    "health",
                    asset=dg.AssetKey("vae_weights"),
                    blocking=True,
                    description="Active units, reconstruction against the mean image, same-clip retrieval against chance.",
                ),
            ),
            renewed_by_inputs=False,
            pool="gpu",
        ),
        Step(
            key="embeddings",
            partitions=batches,
            inputs=lambda archive, batch: digests(archive, ("frames", batch), ("vae_weights", "")),
            make=_embeddings,
            settings=None,
            group=GROUP,
            kinds=("pytorch", "numpy"),
            description="The 128 means of the bottleneck, unit length, in fixed point (int16, 4000 = 1).",
            deps=(dep("frames"), dep("vae_weights")),
            checks=(
                dg.AssetCheckSpec(
                    "finite",
                    asset=dg.AssetKey("embeddings"),
                    blocking=True,
                    description="Every vector is finite and of unit length.",
                ),
                dg.AssetCheckSpec(
                    "drift",
                    asset=dg.AssetKey("embeddings"),
                    description="The batch looks like what the VAE was trained on.",
                ),
            ),
            automation=by_batch(healthy=dg.AssetKey("vae_weights")),
            pool="gpu",
        ),
    ]


# --------------------------------------------------------------------------------------------------------------- VAE


def _vae(work: Work) -> Made:
    from enrich_assets.method.embeddings.health import health
    from enrich_assets.method.embeddings.vae import embed, reconstruct, train_vae
    from enrich_assets.report.figures import reconstructions_png, vae_curves_png

    archive, settings = work.archive, work.archive.profile.vae
    table = archive.frame_table()
    train = table[table["split"] == "train"].reset_index(drop=True)
    if train.empty:
        raise MissingArtefact(
            f"no train frames: all {len(table)} frames belong to test patients; give some patients split=train in the "
            "manifest, or lower split.test_share"
        )
    frames = archive.frames.pixels(SIMILARITY, train)
    patients, clips = pd.factorize(train["patient_id"])[0], pd.factorize(train["clip_id"])[0]
    with work.progress("training", "steps") as advance:
        trained = train_vae(
            frames,
            patients,
            settings,
            seed=archive.profile.vae_seed,
            device=archive.profile.device,
            progress=advance,
            resume=work.draft.scratched(CHECKPOINT),
            save=lambda content: work.draft.scratch(CHECKPOINT, content),
        )
    judged = health(trained.weights, frames, clips, settings, device=archive.profile.device)
    work.draft.weights("vae", trained.weights)
    history = pd.DataFrame(trained.history)
    work.draft.table("history", history, note=True)
    shown = frames[:: max(1, len(frames) // 10)][:10]
    rebuilt = np.rint(255 * reconstruct(trained.weights, shown, settings, device=archive.profile.device)).astype(
        np.uint8
    )
    work.draft.write("reconstructions.png", reconstructions_png(shown, rebuilt), note=True)
    work.draft.write("curves.png", vae_curves_png(history), note=True)
    seen = train.loc[trained.trained_on]
    means = embed(trained.weights, frames[trained.trained_on], settings, device=archive.profile.device)
    work.draft.scratch(CHECKPOINT, None)
    figures = {
        "healthy": bool(judged.passed),
        "active_units": int(judged.active_units),
        "latent": int(judged.latent),
        "reconstruction_error": float(judged.reconstruction_error),
        "mean_image_error": float(judged.mean_image_error),
        "retrieval_rank1": _number(judged.retrieval_rank1),
        "retrieval_chance": _number(judged.retrieval_chance),
        "train_frames": len(seen),
        "train_patients": int(seen["patient_id"].nunique()),
        "train_batches": sorted(set(map(str, train["batch"]))),
        "mean_embedding": [round(float(v), 6) for v in _unit(means).mean(axis=0)],
    }
    check = dg.AssetCheckResult(
        check_name="health",
        passed=bool(judged.passed),
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(judged.reasons)
        or (
            f"{judged.active_units} of {judged.latent} units active; reconstruction error {judged.reconstruction_error:.4g} "
            f"against {judged.mean_image_error:.4g} of the mean image; same-clip retrieval {figures['retrieval_rank1']} "
            f"against {figures['retrieval_chance']} by chance"
        ),
    )
    metadata = {
        "reconstructions": _picture(work, "reconstructions.png"),
        "loss_curves": _picture(work, "curves.png"),
        "history": markdown(history.tail(8).round(4)),
    }
    return Made(figures, metadata, [check])


def _number(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _picture(work: Work, name: str) -> dg.MarkdownMetadataValue:
    """A picture in the UI, from what the draft holds."""
    return picture(work.draft.read(name), name)


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    import base64

    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# -------------------------------------------------------------------------------------------------------- embeddings


def _embeddings(work: Work) -> Made:
    from enrich_assets.method.embeddings.vae import embed, reconstruct

    archive, settings = work.archive, work.archive.profile.vae
    weights_receipt = work.receipt("vae_weights")
    weights = archive.store.weights(weights_receipt, "vae")
    table = archive.frames.table([work.partition])
    frames = archive.frames.pixels(SIMILARITY, table)
    if not len(table):
        work.draft.array("vectors", np.empty((0, settings.latent), np.int16))
        nothing = dg.AssetCheckResult(check_name="finite", passed=True, description="no frames")
        return Made(
            {"frames": 0},
            checks=[nothing, dg.AssetCheckResult(check_name="drift", passed=True, severity=dg.AssetCheckSeverity.WARN)],
        )
    with work.progress("embedding", "frames") as advance:
        means = embed(weights, frames, settings, device=archive.profile.device, progress=advance)
    finite = bool(np.isfinite(means).all() and (np.linalg.norm(means, axis=1) > 0).all())
    if finite:
        work.draft.array("vectors", to_fixed_point(means))
    sample = frames[:: max(1, len(frames) // 200)]
    rebuilt = reconstruct(weights, sample, settings, device=archive.profile.device)
    error = float(np.mean((sample / 255.0 - rebuilt) ** 2))
    known = weights_receipt.figures["reconstruction_error"]
    centre = np.asarray(weights_receipt.figures["mean_embedding"])
    mine = _unit(means).mean(axis=0)
    shift = float(1 - mine @ centre / max(np.linalg.norm(mine) * np.linalg.norm(centre), 1e-12))
    drifted = error > DRIFT_LIMIT * known and work.partition not in weights_receipt.figures["train_batches"]
    checks = [
        dg.AssetCheckResult(
            check_name="finite",
            passed=finite,
            severity=dg.AssetCheckSeverity.ERROR,
            description="every vector finite"
            if finite
            else "vectors that are not finite or of no length: retrain the VAE with a lower learning rate",
        ),
        dg.AssetCheckResult(
            check_name="drift",
            passed=not drifted,
            severity=dg.AssetCheckSeverity.WARN,
            description=(
                f"reconstruction error {error:.4g} against {known:.4g} in training ({error / known:.2f}x); mean direction moved by {shift:.3f}"
                + ("; the VAE does not know such frames: `enrich run --retrain-vae`" if drifted else "")
            ),
        ),
    ]
    figures = {
        "frames": len(table),
        "reconstruction_error": error,
        "drift": round(error / known, 3),
        "mean_direction_shift": round(shift, 4),
    }
    return Made(figures, checks=checks)
