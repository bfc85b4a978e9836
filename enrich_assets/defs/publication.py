"""What is published: one DuckDB file of everything, and the report drawn from it. The tables themselves: `tables.py` beside."""

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.arrival import markdown
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
        ),
    ]


_RESULTS = Cell("results")


def _everything(archive: Archive, profile: Profile) -> str:
    """Digest over the current content of every asset that is published."""
    assets = ["studies", "frames", "split", "labels", "embeddings", "vae_weights"]
    for name, task in profile.tasks.items():
        assets += [f"{name}/{asset}" for asset in ("pool", "similarity", "redundancy", "comparison", "worklist")]
        assets += [
            f"{name}/{arm}/{asset}" for arm in arms(task) for asset in ("ranking", "subset", "model", "evaluation")
        ]
    held = {str(r.cell): r.digest for asset in assets for r in archive.store.receipts.of(asset).values()}
    return digest_of(held)


def _results(work: Work) -> Made:
    from enrich_assets.store.published import publish

    tables = all_tables(work.archive)
    counts = publish(tables, str(work.archive.published))
    figures = {f"rows_{name}": count for name, count in counts.items() if count}
    metadata = {
        "file": dg.MetadataValue.path(str(work.archive.published)),
        "by_budget": markdown(headline(tables["evaluations"])),
        "tables": markdown(pd.DataFrame(sorted(counts.items()), columns=["table", "rows"])),
    }
    return Made(figures, metadata, digest=digest_of(work.draft.inputs))


def headline(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and number of the current evaluations by task, budget and arm."""
    current = evaluations[evaluations["current"]] if len(evaluations) else evaluations
    grouped = current.groupby(["task", "metric", "budget", "arm"])["value"].agg(["mean", "std", "count"])
    return grouped.rename(columns={"std": "sd", "count": "n"}).reset_index().round(4)


def _report(work: Work) -> Made:
    from enrich_assets.report.page import render
    from enrich_assets.store.published import read_tables
    from enrich_assets.store.receipts import now

    archive = work.archive
    tables = read_tables(str(archive.published))
    page = render(
        tables,
        lambda frame_id: frame_picture(archive, frame_id),
        profile_name=archive.profile.name,
        generated_at=now(),
        meta=_meta(archive),
    )
    content = page.encode()
    work.draft.bytes("report.html", content)
    Folder(str(archive.home)).write(archive.report.name, content)
    return Made({"kilobytes": len(content) // 1000}, {"file": dg.MetadataValue.path(str(archive.report))})


def frame_picture(archive: Archive, frame_id: str) -> np.ndarray:
    """The largest picture of a frame the store holds: (side, side) uint8. Raises LookupError for an unknown frame."""
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
        meta["vae_reconstructions"] = archive.store.bytes(vae, "reconstructions.png")
    meta["tasks"] = {
        name: {"seconds_per_label": task.label_seconds, "margin": task.equivalence_margin, "alpha": task.alpha}
        for name, task in archive.profile.tasks.items()
    }
    return meta
