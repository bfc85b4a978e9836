"""Jobs: one per partitions definition, for the UI's launchpad and for schedules and sensors to request."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from enrich_assets.defs import graph as g
from enrich_assets.defs.steps import Step
from enrich_assets.settings import ALL

TAKE_IN, TRAIN_VAE, MEASURE, PUBLISH = "take_in", "train_vae", "measure_similarity", "publish"


def jobs(graph: g.Graph) -> list[UnresolvedAssetJobDefinition]:
    found = [
        _job(TAKE_IN, g.arrival_groups(graph, [""])[0].steps, "Read, de-identify, crop and label one batch."),
        _job(
            TRAIN_VAE,
            g.vae_groups(graph)[0].steps,
            "Train the beta-VAE anew, on purpose; everything embedded with it follows.",
        ),
        _job(
            MEASURE,
            g.similarity_groups(graph, [""])[0].steps,
            "Embed one batch and compare it with itself and all before.",
        ),
        _job(
            PUBLISH,
            [s for t in graph.profile.tasks for s in g.redundancy_groups(graph, t)[0].steps]
            + list(g.conclusion_groups(graph, list(graph.profile.tasks), compared=list(graph.profile.tasks))[0].steps),
            "Sum up redundancy, compare arms, draw up worklists, publish the database and the report.",
        ),
    ]
    for name in graph.profile.tasks:
        arms = g.arms_of(graph, name)
        found.append(
            _job(
                f"rank_{name}",
                g.ranking_groups(graph, name, arms)[0].steps,
                f"Rank the pool of {name} by every arm.",
            )
        )
        for title, members in (("train", [a for a in arms if a != ALL]), ("train_all", [ALL])):
            found.append(
                _job(
                    f"{title}_{name}",
                    g.training_groups(graph, name, members)[0].steps,
                    f"Subset, model and score of one budget and seed of {name}"
                    + (": the whole pool." if title == "train_all" else "."),
                )
            )
    return found


def _job(name: str, steps: list[Step] | tuple[Step, ...], description: str) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*(step.asset_key for step in steps)),
        description=description,
        executor_def=dg.in_process_executor,
    )
