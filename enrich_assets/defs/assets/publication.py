"""What is published: one DuckDB file of everything, and the report drawn from it. The tables themselves: `archive.tables`."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Pool, Vectors
from enrich_assets.archive.frames import Frames
from enrich_assets.archive.tables import all_tables
from enrich_assets.archive.tables.source import Everything
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.reads import Read, every, every_check, part, same, source
from enrich_assets.core.step import CellContext, FilePath, StepOutput, step
from enrich_assets.core.where import Where, arms_of
from enrich_assets.defs.assets.embedding import has_vae, judged
from enrich_assets.defs.assets.ranking import way_of
from enrich_assets.defs.automation import publication
from enrich_assets.report.names import CHECKS, FINDINGS, FRAMES, PICTURES
from enrich_assets.settings import Profile
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Cell, Receipt, digest_of, now

GROUP = "publication"
DATABASE = "enrich.duckdb"
TASK, ARM, EMBEDDING, TASK_EMBEDDING = ("task",), ("task", "arm"), ("embedding",), ("task", "embedding")


def with_runs(where: Where, evaluations: Mapping[Any, Value]) -> Plain:
    """Evaluations with the MLflow runs that record them: one recorded again is published again."""
    receipts = [receipt for value in evaluations.values() for receipt in value.receipts.values()]
    return Plain({str(r.cell): [r.digest, r.metrics["mlflow_run_id"]] for r in receipts})


READS: dict[str, Read] = {
    "studies": every("studies", optional=True),
    "frames": every("frames", optional=True),
    "split": every("split", optional=True),
    "labels": every("labels", optional=True),
    "vectors": every("embeddings/{embedding}", each=EMBEDDING, optional=True),
    "health": same("embedding_health", optional=True),
    "archive_panels": every("archive/similarity/{embedding}", optional=True),
    "archive_redundancy": same("archive/redundancy/{embedding}", optional=True),
    "leaks": same("leaks", optional=True),
    "pools": every("{task}/pool", each=TASK, optional=True),
    "panels": every("{task}/similarity/{embedding}", each=TASK_EMBEDDING, optional=True),
    "redundancy": same("{task}/redundancy/{embedding}", each=TASK_EMBEDDING, optional=True),
    "test_sets": same("{task}/test_set", each=TASK, optional=True),
    "comparisons": same("{task}/comparison", each=TASK, optional=True),
    "worklists": same("{task}/worklist", each=TASK, optional=True),
    "rankings": every("{task}/{arm}/ranking", each=ARM, optional=True),
    "subsets": every("{task}/{arm}/subset", each=ARM, optional=True),
    "models": every("{task}/{arm}/model", each=ARM, optional=True),
    "evaluations": every("{task}/{arm}/evaluation", each=ARM, optional=True),
    "runs": part(every("{task}/{arm}/evaluation", each=ARM, optional=True), with_runs, of_receipts=True),
    "checks": every_check(),
    "history": source("history", counts=False),
}


def reads_of_results(where: Where) -> dict[str, Read]:
    """The same, and the VAE and the sites where the profile names any."""
    vae = {"vae": same("vae_weights", optional=True)} if has_vae(where) else {}
    sites = {"sites": same("sites", optional=True)} if where.profile.sites else {}
    return {**READS, **vae, **sites}


def reads_of_report(where: Where) -> dict[str, Read]:
    """The results, and what they were made of."""
    reads = {name: replace(read, counts=False) for name, read in reads_of_results(where).items() if name != "runs"}
    return {"results": same("results"), **reads}


def _asked_for(where: Where) -> Any:
    """Which cells the profile asks for: the others are published as not current."""
    return {name: [arms_of(task), task.budgets, task.seed_list] for name, task in where.profile.tasks.items()}


@step(
    "results",
    reads=reads_of_results,
    settings=_asked_for,
    group=GROUP,
    kinds=("duckdb",),
    product=DATABASE,
    automation=publication(),
)
def results(cell: CellContext, **values: Any) -> StepOutput:
    """Everything above as tables and views in one DuckDB file, built beside the old one and swapped in."""
    from enrich_assets.report.numbers import results_table
    from enrich_assets.store.published import publish

    tables = all_tables(_everything(cell.where.profile, values))
    counts = publish(tables, cell.product)
    return StepOutput(
        metrics={f"rows_{name}": count for name, count in counts.items() if count},
        metadata={
            "file": FilePath(cell.product),
            "by_budget": results_table(tables["evaluations"]).round(4),
            "tables": pd.DataFrame(sorted(counts.items()), columns=["table", "rows"]),
        },
        digest=digest_of([cell.draft.inputs, cell.draft.settings]),
    )


def _everything(profile: Profile, values: Mapping[str, Any]) -> Everything:
    wanted = ("history", "studies", "frames", "split", "labels", "health", "comparisons", "worklists")
    alike = ("archive_panels", "archive_redundancy", "leaks", "panels", "redundancy")
    by_arm = ("rankings", "subsets", "evaluations", "checks")
    of_steps = {name: values[name] for name in (*wanted, *alike, *by_arm)}
    return Everything(profile, **of_steps, sites=values.get("sites"))


@step(
    "report",
    reads=reads_of_report,
    group=GROUP,
    kinds=("html",),
    product=FINDINGS,
    beside=(PICTURES, FRAMES, CHECKS),
    automation=publication(),
)
def report(cell: CellContext, **values: Any) -> StepOutput:
    """The findings as one self-contained page, figures 1-3, tables 1-3; beside it pages of pictures, of the frames behind each score, and of checks."""
    from enrich_assets.report.page import NEEDED, render
    from enrich_assets.store.published import read_tables

    home = Folder(cell.product.rpartition("/")[0])
    nearest = nearest_chosen(cell.where.profile, values)
    # Twenty rows for each frame of a pool: read only where the nearest chosen frame has to be looked for among them.
    has_subsets = any(value.receipts for value in values["subsets"].values())
    names = [
        name
        for name in NEEDED
        if name != "nearest_chosen" and (name != "neighbours" or (nearest.empty and has_subsets))
    ]
    tables = read_tables(home.path(DATABASE), names, columns={"frames": NEEDED["frames"].split()})
    tables["nearest_chosen"] = nearest
    pages = render(
        tables,
        frame_pictures(cell.where.profile, values["frames"]),
        profile_name=cell.where.profile.name,
        generated_at=pd.Timestamp(now()),
        meta=page_facts(cell.where.profile, values),
    )
    contents = {name: page.encode() for name, page in pages.items()}
    for name in (PICTURES, FRAMES, CHECKS, FINDINGS):  # the one that refers to the others last
        home.write(name, contents[name])
    return StepOutput(
        notes=contents,
        metrics={"kilobytes": sum(map(len, contents.values())) // 1000},
        metadata={"file": FilePath(cell.product)},
        digest=digest_of([cell.draft.inputs, cell.draft.settings]),
    )


def frame_pictures(profile: Profile, frames: Frames) -> Callable[[str], np.ndarray]:
    """A function of a frame id: the largest picture of it the store holds, (side, side) uint8.

    It raises KeyError for an unknown frame.
    """
    task = max(profile.tasks, key=lambda name: profile.tasks[name].size)
    return lambda frame_id: frames.picture(task, frame_id)


def page_facts(profile: Profile, values: Mapping[str, Any]) -> dict[str, object]:
    """What the tables do not hold: the VAE's health, seconds by stage, advice, versions, links."""
    facts: dict[str, object] = {"seconds_by_stage": seconds_by_stage(values), **_vae_facts(profile, values)}
    tasks = profile.tasks
    facts["tasks"] = list(tasks)
    facts["seconds_per_label"] = {name: task.label_seconds for name, task in tasks.items()}
    facts["advice"] = {name: value.metrics["advice"] for name, value in values["worklists"].items() if value.is_there}
    facts["near_duplicates_left_out"] = {
        name: value.metrics["near_duplicates"] - value.metrics["near_duplicates_listed"]
        for (name, embedding), value in values["redundancy"].items()
        if value.is_there and embedding == profile.default_embedding
    }
    if values["leaks"].is_there:
        facts["leaks"] = dict(values["leaks"].metrics)
    facts["embedding"] = profile.default_embedding
    facts["arms"] = {name: _ways(profile, name) for name in tasks}
    facts["versions"] = {name: version(name) for name in ("enrich-assets", "torch", "dagster", "duckdb", "mlflow")}
    links = {"Dagster": profile.tracking.dagster_url, "MLflow": profile.tracking.ui_url}
    facts["links"] = {name: url for name, url in links.items() if url}
    return facts


def _ways(profile: Profile, task: str) -> dict[str, str]:
    """Arm -> how it chooses."""
    return {arm: way_of(Where(profile, task, arm)) for arm in profile.tasks[task].arms}


def _vae_facts(profile: Profile, values: Mapping[str, Any]) -> dict[str, object]:
    vae: Value | None = values.get("vae")
    if vae is None or not vae.is_there:
        return {}
    health, measures = judged(vae, Where(profile)), vae.metrics["measures"]
    published = ("reconstruction_error", "mean_image_error", "retrieval_rank1", "retrieval_chance")
    return {
        "vae_health": {
            "healthy": health.passed,
            "active_units": health.active_units,
            "latent": len(measures["unit_variances"]),
            **{name: measures[name] for name in published},
            **{name: vae.metrics[name] for name in ("train_frames", "train_patients", "seconds")},
        },
        "vae_history": vae.table("history"),
        "vae_reconstructions": vae.store.read(vae.receipt, "reconstructions.png"),
    }


def seconds_by_stage(values: Mapping[str, Any]) -> dict[str, float]:
    """Stage -> seconds, of every cell that is current."""
    seconds: dict[str, float] = {}
    for receipt in _receipts(values):
        parts = receipt.asset.split("/")
        stage = parts[1] if len(parts) > 1 and parts[1] in ("similarity", "redundancy") else parts[-1]
        stage = f"embeddings by {parts[1]}" if parts[0] == "embeddings" and parts[1] != "vae" else stage
        stage = "embeddings" if receipt.asset == "embeddings/vae" else stage
        seconds[stage] = seconds.get(stage, 0.0) + float(receipt.metrics.get("seconds", 0.0))
    return {stage: round(value, 2) for stage, value in seconds.items()}


def _receipts(values: Mapping[str, Any]) -> list[Receipt]:
    receipts: dict[Cell, Receipt] = {}
    for value in values.values():
        for one in value.values() if isinstance(value, dict) else [value]:
            if isinstance(one, Value):
                receipts |= {receipt.cell: receipt for receipt in one.receipts.values()}
    return list(receipts.values())


def nearest_chosen(profile: Profile, values: Mapping[str, Any]) -> pd.DataFrame:
    """For the gallery: each left-out frame's nearest chosen one, for the first arm's smallest subset.

    Returns
    -------
    pandas.DataFrame
        task, frame_id, chosen_id, similarity (cosine).
    """
    from enrich_assets.method.ranking import coverage_of

    tables = []
    for name, task in profile.tasks.items():
        pool: Pool = values["pools"][name]
        first_arm = next(iter(task.arms))
        vectors: Vectors = values["vectors"][profile.embedding_of(task.arms[first_arm])]
        if not set(pool.frames.get("batch", ())) <= vectors.receipts.keys():
            continue
        subsets: Value = values["subsets"][name, first_arm]
        of_seed = [r for cell, r in subsets.receipts.items() if cell.endswith(f"|{task.seed_list[0]}")]
        if not of_seed:
            continue
        smallest = min(of_seed, key=lambda receipt: receipt.metrics["budget"])
        chosen = subsets.store.table(smallest, "subset")
        if len(chosen) >= len(pool) or not chosen["frame_id"].isin(pool.ids).all():
            continue
        coverage = coverage_of(vectors.of(pool.frames), pool.positions(chosen["frame_id"]))
        columns = {"frame_id": pool.ids[coverage.left_out], "chosen_id": pool.ids[coverage.nearest]}
        tables.append(pd.DataFrame({**columns, "similarity": coverage.cosines(), "task": name}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
