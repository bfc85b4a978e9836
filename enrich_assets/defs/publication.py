"""What is published: one DuckDB file of everything, and the report drawn from it. The tables themselves: `tables.py` beside."""

from importlib.metadata import version

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.arrival import markdown
from enrich_assets.defs.automation import publication
from enrich_assets.defs.curation import arms
from enrich_assets.defs.partitions import every_partition
from enrich_assets.defs.steps import Made, Step, Work, dep
from enrich_assets.defs.tables import all_tables
from enrich_assets.settings import Profile
from enrich_assets.store.folder import Folder
from enrich_assets.store.receipts import Cell, digest_of

GROUP = "publication"


def steps(profile: Profile) -> list[Step]:
    published = [dep(asset, every_partition) for asset in ("studies", "frames", "split", "labels", "embeddings")]
    published.append(dep("vae_weights"))
    for name, task in profile.tasks.items():
        published += [dep(f"{name}/{asset}") for asset in ("redundancy", "comparison", "worklist")]
        published += [dep(f"{name}/{arm}/evaluation", every_partition) for arm in arms(task)]
    return [
        Step(
            key="results",
            partitions=None,
            inputs=lambda archive, _: {"everything": _everything(archive, profile)},
            make=_results,
            settings=None,
            group=GROUP,
            kinds=("duckdb",),
            description="Everything above as tables and views in one DuckDB file, built beside the old one and swapped in.",
            deps=tuple(published),
            checks=(
                dg.AssetCheckSpec(
                    CONFLICTS,
                    asset=dg.AssetKey("results"),
                    description="Near-duplicates have the same label.",
                ),
            ),
            automation=publication(),
        ),
        Step(
            key="report",
            partitions=None,
            inputs=lambda archive, _: {"results": archive.store.receipts.require(_RESULTS).digest},
            make=_report,
            settings=None,
            group=GROUP,
            kinds=("html",),
            description="One self-contained page: figures 1-3, tables 1-3, chosen and left-out frames side by side.",
            deps=(dep("results"),),
            automation=publication(),
        ),
    ]


_RESULTS = Cell("results")
CONFLICTS = "labels_agree"  # the check of labels among near-duplicates


def _everything(archive: Archive, profile: Profile) -> str:
    """Digest over the cells the profile asks for, what every published asset holds, and the MLflow runs of it."""
    assets = ["studies", "frames", "split", "labels", "embeddings", "vae_weights"]
    for name, task in profile.tasks.items():
        assets += [f"{name}/{asset}" for asset in ("pool", "similarity", "redundancy", "comparison", "worklist")]
        assets += [
            f"{name}/{arm}/{asset}" for arm in arms(task) for asset in ("ranking", "subset", "model", "evaluation")
        ]
    held = (receipt for asset in assets for receipt in archive.store.receipts.of(asset).values())
    told = {str(r.cell): [r.digest, r.figures.get("mlflow_run_id")] for r in held}
    asked = {name: [arms(task), task.budgets, task.seed_list] for name, task in profile.tasks.items()}
    return digest_of([asked, told])


def _results(work: Work) -> Made:
    from enrich_assets.report.numbers import results_table
    from enrich_assets.store.published.file import publish

    tables = all_tables(work.archive)
    check = labels_agree(tables.get("near_duplicates", pd.DataFrame()))
    told = {"asset": "results", "check_name": CONFLICTS, "passed": check.passed}
    told |= {"severity": check.severity.value, "description": check.description}
    tables["checks"] = pd.concat([tables["checks"], pd.DataFrame([told])], ignore_index=True)
    counts = publish(tables, str(work.archive.published))
    figures = {f"rows_{name}": count for name, count in counts.items() if count}
    metadata = {
        "file": dg.MetadataValue.path(str(work.archive.published)),
        "by_budget": markdown(results_table(tables["evaluations"]).round(4)),
        "tables": markdown(pd.DataFrame(sorted(counts.items()), columns=["table", "rows"])),
    }
    return Made(figures, metadata, [check], digest=digest_of(work.draft.inputs))


def labels_agree(near_duplicates: pd.DataFrame) -> dg.AssetCheckResult:
    """Whether near-duplicates (columns task, frame_id, other_id, similarity, labels_conflict) have conflicting labels."""
    pairs = near_duplicates
    wrong = pairs[pairs["labels_conflict"].eq(True)] if "labels_conflict" in pairs else pairs.head(0)
    said = "; ".join(
        f"{r.task}: {r.frame_id} ~ {r.other_id} ({r.similarity:.4f})" for r in wrong.head(5).itertuples(index=False)
    )
    return dg.AssetCheckResult(
        check_name=CONFLICTS,
        passed=wrong.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(wrong):,} of {len(pairs):,} near-duplicate pairs carry different labels"
        + (f": {said}; look at them, one of each pair is likely wrong" if len(wrong) else ""),
        metadata={"conflicts": markdown(wrong.head(100))} if len(wrong) else {},
    )


def _report(work: Work) -> Made:
    from enrich_assets.report.page import render
    from enrich_assets.store.published.file import read_tables
    from enrich_assets.store.receipts import now

    archive = work.archive
    tables = read_tables(str(archive.published))
    tables["nearest_chosen"] = _nearest_chosen(archive)
    page = render(
        tables,
        lambda frame_id: frame_picture(archive, frame_id),
        profile_name=archive.profile.name,
        generated_at=now(),
        meta=_meta(archive),
    )
    content = page.encode()
    work.draft.write("report.html", content)
    Folder(str(archive.home)).write(archive.report.name, content)
    return Made({"kilobytes": len(content) // 1000}, {"file": dg.MetadataValue.path(str(archive.report))})


def frame_picture(archive: Archive, frame_id: str) -> np.ndarray:
    """The largest picture of a frame the store holds: (side, side) uint8. Raises KeyError for an unknown frame."""
    task = max(archive.profile.tasks, key=lambda name: archive.profile.tasks[name].size)
    return archive.frames.pixels(task, archive.frame_row(frame_id))[0]


def _meta(archive: Archive) -> dict[str, object]:
    """What the tables do not say: the VAE's health, seconds by stage."""
    receipts = archive.store.receipts
    vae = receipts.current(Cell("vae_weights"))
    seconds: dict[str, float] = {}
    names = ["studies", "frames", "split", "labels", "vae_weights", "embeddings"]
    names += [
        f"{t}/{a}"
        for t in archive.profile.tasks
        for a in ("pool", "similarity", "redundancy", "comparison", "worklist")
    ]
    names += [
        f"{t}/{arm}/{a}"
        for t, s in archive.profile.tasks.items()
        for arm in arms(s)
        for a in ("ranking", "subset", "model", "evaluation")
    ]
    for name in names:
        stage = name.rpartition("/")[2]
        seconds[stage] = seconds.get(stage, 0.0) + sum(
            r.figures.get("seconds", 0.0) for r in receipts.of(name).values()
        )
    meta: dict[str, object] = {"seconds_by_stage": {k: round(v, 2) for k, v in seconds.items()}}
    if vae is not None:
        meta["vae_health"] = {k: v for k, v in vae.figures.items() if k not in ("mean_embedding", "checks")}
        meta["vae_history"] = archive.store.table(vae, "history")
        meta["vae_reconstructions"] = archive.store.read(vae, "reconstructions.png")
    tasks = archive.profile.tasks
    meta["tasks"] = list(tasks)
    meta["seconds_per_label"] = {name: task.label_seconds for name, task in tasks.items()}
    worklists = {name: receipts.current(Cell(f"{name}/worklist")) for name in tasks}
    meta["advice"] = {name: held.figures["advice"] for name, held in worklists.items() if held is not None}
    sums = {name: receipts.current(Cell(f"{name}/redundancy")) for name in tasks}
    meta["near_duplicates_left_out"] = {
        name: held.figures["near_duplicates"] - held.figures["near_duplicates_listed"]
        for name, held in sums.items()
        if held is not None
    }
    meta["versions"] = {name: version(name) for name in ("enrich-assets", "torch", "dagster", "duckdb", "mlflow")}
    links = {"Dagster": archive.profile.tracking.dagster_url, "MLflow": archive.profile.tracking.ui_url}
    meta["links"] = {name: url for name, url in links.items() if url}
    return meta


def _nearest_chosen(archive: Archive) -> pd.DataFrame:
    """For the gallery: each left-out frame's nearest chosen one, for the first arm's least affordable subset.

    Columns task, frame_id, chosen_id, similarity.
    """
    from enrich_assets.method.ranking.coverage import coverage

    found = []
    for name, task in archive.profile.tasks.items():
        arm, seed = next(iter(task.arms)), task.seed_list[0]
        held = archive.store.receipts.of(f"{name}/{arm}/subset")
        mine = [held[key] for key in held if key.endswith(f"|{seed}")]
        if not mine:
            continue
        smallest = min(mine, key=lambda receipt: receipt.figures["budget"])
        subset = archive.store.table(smallest, "subset")
        pool = archive.pool(name)
        position = pd.Series(np.arange(len(pool)), index=pool["frame_id"])
        if len(subset) >= len(pool) or not subset["frame_id"].isin(position.index).all():
            continue
        covered = coverage(archive.vectors(pool), position.loc[subset["frame_id"]].to_numpy())
        ids = pool["frame_id"].to_numpy()
        similarity = covered.cosines()
        found.append(
            pd.DataFrame(
                {
                    "frame_id": ids[covered.left_out],
                    "chosen_id": ids[covered.nearest],
                    "similarity": similarity,
                    "task": name,
                }
            )
        )
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
