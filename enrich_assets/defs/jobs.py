"""Jobs: one per partitions definition, for the UI's launchpad and for schedules and sensors; and the job that ingests drops."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from enrich_assets.archive.drops import find_drops, ingest_drops
from enrich_assets.core.graph import Graph
from enrich_assets.core.keys import (
    BATCH_ASSETS,
    EMBEDDING_HEALTH,
    GRID_ASSETS,
    VAE_WEIGHTS,
    archive_assets,
    fitted_assets,
    length_asset,
    similarity_assets,
    summary_assets,
)
from enrich_assets.core.where import arms_of
from enrich_assets.defs.instance import know_batches
from enrich_assets.defs.mount import Mount
from enrich_assets.settings import ALL

DECODE, TRAIN_VAE, MEASURE, PUBLISH, INGEST = (
    "decode_batch",
    "train_vae",
    "measure_similarity",
    "publish",
    "ingest_drops",
)
Job = UnresolvedAssetJobDefinition | dg.JobDefinition


def jobs(graph: Graph, mount: Mount) -> list[Job]:
    """All jobs of an archive; three or four of them for each task."""
    tasks = list(graph.profile.tasks)

    def job(name: str, keys: Sequence[str], description: str) -> UnresolvedAssetJobDefinition:
        selection = dg.AssetSelection.assets(*(mount.asset_key(key) for key in keys))
        return dg.define_asset_job(
            mount.name(name), selection=selection, description=description, executor_def=dg.in_process_executor
        )

    all_jobs: list[Job] = [
        job(DECODE, BATCH_ASSETS, "Read, de-identify, crop and label one batch."),
        *(
            job(fitting_job(key), [key], f"Make {key} again, on purpose; everything embedded with it follows.")
            for key in fitted_assets(graph.profile)
        ),
        job(MEASURE, similarity_assets(graph.profile), "Embed one batch and compare it with itself and all before."),
        job(
            PUBLISH,
            publication_keys(graph),
            "Sum up redundancy, compare arms, draw up worklists, publish the database and the report.",
        ),
        _ingest_job(mount),
    ]
    for task in tasks:
        arms = list(arms_of(graph.profile.tasks[task]))
        all_jobs.append(
            job(f"rank_{task}", [f"{task}/{arm}/ranking" for arm in arms], f"Rank the pool of {task} by every arm.")
        )
        if graph.profile.tasks[task].searches_length:
            sentence = (
                f"Find the number of training steps of {task} again, on purpose; where it changes, its models follow."
            )
            all_jobs.append(job(f"find_length_{task}", [length_asset(task)], sentence))
        for title, members in (("train", [arm for arm in arms if arm != ALL]), ("train_all", [ALL])):
            all_jobs.append(
                job(
                    f"{title}_{task}",
                    [f"{task}/{arm}/{asset}" for arm in members for asset in GRID_ASSETS],
                    f"Subset, model and score of one budget and seed of {task}"
                    + (": the whole pool." if title == "train_all" else "."),
                )
            )
    return all_jobs


def fitting_job(key: str) -> str:
    """Name of the job that makes the weights of an embedding: `train_vae`, `fit_pca`."""
    return TRAIN_VAE if key == VAE_WEIGHTS else f"fit_{key.removesuffix('_weights')}"


def publication_keys(graph: Graph) -> list[str]:
    """Keys of sums, comparisons, worklists, and what is published."""
    profile = graph.profile
    summaries = archive_assets(profile) + [key for task in profile.tasks for key in summary_assets(profile, task)]
    conclusions = [f"{task}/{asset}" for task in profile.tasks for asset in ("comparison", "worklist")]
    sites = [key for key in ("sites",) if key in graph.steps]
    return [EMBEDDING_HEALTH, *summaries, *sites, *conclusions, "results", "report"]


class DropsToIngest(dg.Config):
    """Which drops: by keyed hashes of their names, for a folder name may be a patient's."""

    drops: list[str]


def _ingest_job(mount: Mount) -> dg.JobDefinition:
    """A sensor detects drops, a run of this job reads and ingests them: it may take as long as it needs."""

    @dg.op(name=mount.name("ingest"), required_resource_keys={mount.resource})
    def ingest(context: dg.OpExecutionContext, config: DropsToIngest) -> None:
        archive = getattr(context.resources, mount.resource).open()
        outcomes = ingest_drops(archive, find_drops(archive, config.drops))
        for outcome in outcomes:
            context.log.info(outcome.message)
        know_batches(archive, context.instance, mount)
        unread = [outcome.message for outcome in outcomes if outcome.error is not None]
        if unread:  # the sensor asks for these again, up to its limit
            raise dg.Failure("; ".join(unread), allow_retries=False)

    @dg.job(
        name=mount.name(INGEST),
        description="Read the drops that a sensor found complete, and make a batch of them.",
        executor_def=dg.in_process_executor,
    )
    def ingest_drops_job() -> None:
        ingest()

    return ingest_drops_job
