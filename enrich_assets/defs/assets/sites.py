"""Sites: where studies come from, whether classes go together with that, and how redundant each site is. Only where the profile
names `sites`."""

import numpy as np
import pandas as pd

from enrich_assets.archive.curation import Vectors
from enrich_assets.archive.frames import Frames, Split
from enrich_assets.archive.labels import Labels
from enrich_assets.archive.sides.counts import classes_of_frames
from enrich_assets.archive.sides.sites import associations, site_counts, study_sites
from enrich_assets.archive.values import Value
from enrich_assets.core.reads import every, same
from enrich_assets.core.step import CellContext, CheckOutcome, StepOutput, check, step
from enrich_assets.defs.automation import summary
from enrich_assets.method.pairs.similarity import BIN_EDGES, Progress, similarity_histogram

GROUP = "ingestion"


@step(
    "sites",
    only=lambda where: bool(where.profile.sites),
    reads={
        "studies": every("studies"),
        "frames": every("frames"),
        "split": every("split"),
        "labels": every("labels"),
        "vectors": every("embeddings/{embedding}", optional=True),
    },
    settings=lambda where: {"columns": where.profile.sites, "max_pairs": where.profile.similarity.max_pairs},
    group=GROUP,
    kinds=("parquet",),
    automation=summary(),
)
def sites(
    cell: CellContext, studies: Value, frames: Frames, split: Split, labels: Labels, vectors: Vectors
) -> StepOutput:
    """Patients and frames by site; whether class and site go together (Cramer's V); redundancy within each site."""
    columns = cell.settings["columns"]
    of_studies = study_sites(studies.table("rows"), columns)
    counted = classes_of_frames(frames, labels, cell.where.profile)
    counted["split"] = counted["patient_id"].map(split.sides)
    found = associations(counted, of_studies)
    association = pd.DataFrame(
        [
            {
                "site_column": column,
                "task": task,
                "cramers_v": one.cramers_v,
                "by_chance": one.by_chance,
                "p": one.p,
                "confounded": one.is_confounded(),
                "n": int(one.counts.sum()),
                "n_sites": len(one.sites),
                "n_classes": len(one.classes),
            }
            for (column, task), one in found.items()
        ],
        columns=["site_column", "task", "cramers_v", "by_chance", "p", "confounded", "n", "n_sites", "n_classes"],
    )
    by_site = frames.frame_table[["frame_id", "study_id", "batch"]].merge(of_studies, on="study_id")
    by_site = by_site[by_site["batch"].isin(vectors.receipts)]
    with cell.progress("all pairs", "sites") as advance:
        redundancy = _redundancy(by_site, vectors, cell.settings["max_pairs"], advance)
    counts = site_counts(counted, of_studies)
    return StepOutput(
        tables={
            "study_sites": of_studies,
            "sites": counts,
            "site_association": association,
            "site_redundancy": redundancy,
        },
        metrics={"sites": len(of_studies[["site_column", "site"]].drop_duplicates())},
        metadata={"association": association.round(4), "sites": counts.head(40)},
    )


def _redundancy(by_site: pd.DataFrame, vectors: Vectors, max_pairs: int, advance: Progress) -> pd.DataFrame:
    most = max(2, int(np.sqrt(2 * max_pairs)))
    parts = []
    groups = list(by_site.groupby(["site_column", "site"]))
    for number, ((column, site), members) in enumerate(groups, 1):
        compared = members.iloc[np.linspace(0, len(members) - 1, min(len(members), most)).astype(int)]
        pairs = similarity_histogram(vectors.of(compared), BIN_EDGES)
        table = pd.DataFrame({"lower": BIN_EDGES[:-1], "upper": BIN_EDGES[1:], "pairs": pairs})
        table["share"] = pairs / max(int(pairs.sum()), 1)
        parts.append(
            table[pairs > 0].assign(
                site_column=column, site=site, frames=len(compared), is_estimate=len(compared) < len(members)
            )
        )
        advance(number, len(groups), {})
    names = ["site_column", "site", "lower", "upper", "pairs", "share", "frames", "is_estimate"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


@check("sites", only=lambda where: bool(where.profile.sites), reads={"sites": same("sites")})
def classes_do_not_follow_from_sites(cell: CellContext, sites: Value) -> CheckOutcome:
    """Class and site do not go together: otherwise a model may learn the site, and test patients of the same sites do not show it."""
    table = sites.table("site_association")
    confounded = table[table["confounded"].astype(bool)]
    words = "; ".join(
        f"{row.task} by {row.site_column}: Cramer's V {row.cramers_v:.2f} ({row.by_chance:.2f} by chance, p = {row.p:.2g}) over "
        f"{row.n} patients of {row.n_sites} sites"
        for row in (confounded if len(confounded) else table).itertuples()
    )
    return CheckOutcome(confounded.empty, words or "no site is named, or nothing is labelled", confounded)
