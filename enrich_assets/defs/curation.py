"""The method's own part of a task: pool, similarity panels, redundancy, rankings, subsets. No label is looked at here."""

from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from enrich_assets.archive import Archive
from enrich_assets.defs.arrival import markdown
from enrich_assets.defs.automation import by_batch, summary
from enrich_assets.defs.embedding import picture
from enrich_assets.defs.partitions import batches, budget_and_seed, every_partition, grid, seed_of_cell, seeds
from enrich_assets.defs.steps import Made, Step, Work, dep, digests, per_batch
from enrich_assets.settings import ALL, ArmSettings, Profile, TaskSettings, budget_frames, settings_dict
from enrich_assets.store.frames import SIMILARITY, digest_column
from enrich_assets.store.identity import subset_id
from enrich_assets.store.panels import read_panel, write_matrix, write_panel
from enrich_assets.store.receipts import Cell, MissingArtefact

TEST_TWINS = "no_test_twins"  # the check of near-duplicates across the split


def arms(task: TaskSettings) -> dict[str, ArmSettings]:
    """The profile's arms, and the whole pool."""
    return {**task.arms, ALL: ArmSettings(rule="random")}


def steps(profile: Profile) -> list[Step]:
    return [step for name, task in profile.tasks.items() for step in _task_steps(profile, name, task)]


def _task_steps(profile: Profile, name: str, task: TaskSettings) -> list[Step]:
    found = [
        Step(
            key=f"{name}/pool",
            partitions=batches,
            inputs=lambda archive, batch: {
                **per_cell(archive, batch, "frames", "split", "labelled"),
                "labels in any batch": str(_is_labelled_anywhere(archive, name)),
            },
            make=lambda work: _pool(work, name),
            settings=None,
            group=name,
            kinds=("parquet",),
            description="Train frames of the batch that the task may choose from. Where nothing is labelled yet: all train frames.",
            deps=(dep("frames"), dep("split"), dep("labelled")),
            automation=by_batch(),
        ),
        Step(
            key=f"{name}/similarity",
            partitions=batches,
            inputs=lambda archive, batch: per_batch(archive, f"{name}/pool", "embeddings", upto=batch),
            make=lambda work: _similarity(work, name),
            settings=settings_dict(profile.similarity),
            group=name,
            kinds=("numba", "numpy"),
            description="The panel: similarity of this batch with itself and every earlier batch, all pairs, exactly.",
            deps=(dep("embeddings"), dep(f"{name}/pool")),
            checks=(
                dg.AssetCheckSpec(
                    "panel_is_whole",
                    asset=dg.AssetKey([name, "similarity"]),
                    blocking=True,
                    description="As many pairs as frames allow; the diagonal is 1, the matrix symmetric (sampled).",
                ),
            ),
            automation=by_batch(),
            pool="gpu",
        ),
        Step(
            key=f"{name}/redundancy",
            partitions=None,
            inputs=lambda archive, _: _fitting_panels(archive, name),
            make=lambda work: _redundancy(work, name),
            settings=settings_dict(profile.similarity),
            group=name,
            kinds=("parquet",),
            description="Panels summed: how much of the pool is nearly the same picture. Figure 1.",
            deps=(dep(f"{name}/similarity", every_partition),),
            checks=(
                dg.AssetCheckSpec(
                    TEST_TWINS,
                    asset=dg.AssetKey([name, "redundancy"]),
                    description="No frame of a test patient is nearly the same picture as a frame of the pool.",
                ),
            ),
            automation=summary(),
        ),
    ]
    for arm, settings in arms(task).items():
        found += [
            Step(
                key=f"{name}/{arm}/ranking",
                partitions=seeds(task),
                inputs=lambda archive, _: per_batch(archive, f"{name}/pool", f"{name}/similarity", "embeddings"),
                make=partial(_ranking, name=name, arm=arm, settings=settings),
                settings=[settings_dict(settings), task.start, list(task.budgets), task.growth],
                group=name,
                kinds=("numba", "numpy"),
                description=f"Arm {arm}: the order in which frames would be labelled ({_said(arm, settings)}).",
                deps=tuple(
                    dep(asset, every_partition) for asset in (f"{name}/pool", f"{name}/similarity", "embeddings")
                ),
            ),
            Step(
                key=f"{name}/{arm}/subset",
                partitions=grid(task, arm),
                inputs=partial(_subset_inputs, name=name, arm=arm),
                make=partial(_subset, name=name, arm=arm),
                settings=None,
                group=name,
                kinds=("parquet",),
                description=f"Arm {arm}: the first frames of the ranking, as many as the budget buys.",
                deps=(dep(f"{name}/{arm}/ranking", seed_of_cell),),
                checks=(
                    dg.AssetCheckSpec(
                        "train_frames_once",
                        asset=dg.AssetKey([name, arm, "subset"]),
                        blocking=True,
                        description="The budget's size, each frame once, train patients only.",
                    ),
                ),
            ),
        ]
    return found


def _said(arm: str, settings: ArmSettings) -> str:
    return (
        "the whole pool"
        if arm == ALL
        else "by chance"
        if settings.rule == "random"
        else f"{settings.rule} rule on {settings.similarity} similarity"
    )


def per_cell(archive: Archive, partition: str, *assets: str) -> dict[str, str]:
    return digests(archive, *((asset, partition) for asset in assets))


# -------------------------------------------------------------------------------------------------------------- pool


def _is_labelled_anywhere(archive: Archive, name: str) -> bool:
    return any(
        receipt.figures.get(f"labelled_{name}", 0)
        for batch, receipt in archive.store.receipts.of("labelled").items()
        if batch in archive.batches
    )


def _pool(work: Work, name: str) -> Made:
    archive, batch = work.archive, work.partition
    frames = archive.frame_table([batch])
    train = frames[frames["split"] == "train"]
    labelled = set(archive.store.table(work.receipt("labelled", batch), name)["frame_id"])
    # An archive without labels still has redundancy to measure and a worklist to draw up.
    only_labelled = archive.profile.tasks[name].kind == "segmentation" or _is_labelled_anywhere(archive, name)
    chosen = train[train["frame_id"].isin(labelled)] if only_labelled else train
    columns = ["frame_id", "patient_id", "study_id", "clip_id", "batch", "part", "row"]
    pool = chosen[columns].assign(pixel_digest=chosen[digest_column(name)]).reset_index(drop=True)
    work.draft.table("pool", pool)
    figures = {
        "frames": len(pool),
        "labelled": len(labelled & set(pool["frame_id"])),
        "patients": int(pool["patient_id"].nunique()),
        "clips": int(pool["clip_id"].nunique()),
    }
    return Made(figures)


# -------------------------------------------------------------------------------------------------------- similarity


def _codes(pool: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return pd.factorize(pool["clip_id"])[0].astype(np.int64), pd.factorize(pool["patient_id"])[0].astype(np.int64)


def _similarity(work: Work, name: str) -> Made:
    from enrich_assets.method.pairs.cost import estimate_redundancy
    from enrich_assets.method.pairs.similarity import all_pairs

    archive, settings = work.archive, work.archive.profile.similarity
    upto = archive.batches[: archive.batches.index(work.partition) + 1]
    pool = archive.pool(name, upto)
    n, m = len(pool), int((pool["batch"] == work.partition).sum())
    n_pairs = m * (n - m) + m * (m - 1) // 2
    vectors = archive.vectors(pool)
    clips, patients = _codes(pool)
    figures: dict[str, Any] = {
        "frames": m,
        "frames_before": n - m,
        "pairs": n_pairs,
        "is_estimate": n_pairs > settings.max_pairs,
    }
    if figures["is_estimate"]:
        estimate = estimate_redundancy(
            vectors, clips, patients, n_samples=settings.sampled_pairs, seed=0, n_earlier=n - m
        )
        work.draft.table("estimate", estimate)
    else:
        with work.progress("all pairs", "rows") as advance:
            panel = all_pairs(
                vectors,
                clips=clips,
                patients=patients,
                n_earlier=n - m,
                so_far=_so_far(work, name, upto[:-1], n - m),
                neighbours=settings.neighbours,
                near_duplicate=settings.near_duplicate,
                max_near_duplicates=settings.max_near_duplicates,
                device=archive.profile.device,
                progress=advance,
            )
        write_panel(work.draft, panel)
        figures["near_duplicates"] = int(len(panel.near_duplicates) + panel.near_duplicates_left_out)
    if settings.store_matrix:
        write_matrix(work.draft, vectors, n - m, settings.matrix_dtype)
    return Made(figures, checks=[_whole(vectors, n_pairs, None if figures["is_estimate"] else panel)])


def _so_far(work: Work, name: str, earlier: list[str], n_earlier: int) -> Any:
    """The sum of the earlier panels, which spares a small batch most of its neighbour updates; None where it does not fit."""
    from enrich_assets.method.pairs.panel import sum_panels

    receipts = [work.receipt(f"{name}/similarity", batch) for batch in earlier]
    if not receipts or any(receipt.figures["is_estimate"] for receipt in receipts):
        return None
    total = sum_panels([read_panel(work.archive.store, receipt) for receipt in receipts])
    fits = (total.n, total.n_neighbours) == (n_earlier, work.archive.profile.similarity.neighbours)
    return total if fits else None


def _whole(vectors: np.ndarray, n_pairs: int, panel: Any) -> dg.AssetCheckResult:
    sample = (
        vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), 200)).astype(int)].astype(np.int64)
        if len(vectors)
        else np.zeros((0, 1))
    )
    products = sample @ sample.T
    diagonal = np.sqrt(np.diag(products)) / 4000
    counted = int(panel.histograms.sum()) if panel is not None else n_pairs
    passed = bool((np.abs(diagonal - 1) < 2e-3).all() and (products == products.T).all() and counted == n_pairs)
    return dg.AssetCheckResult(
        check_name="panel_is_whole",
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{counted:,} of {n_pairs:,} pairs counted; diagonal within {np.abs(diagonal - 1).max(initial=0):.1e} of 1",
    )


# -------------------------------------------------------------------------------------------------------- redundancy


def _fitting_panels(archive: Archive, name: str) -> dict[str, str]:
    """Digests of all panels. Raises MissingArtefact while one still compares with what an earlier batch held before."""
    for batch in archive.batches:
        panel = archive.store.receipts.require(Cell(f"{name}/similarity", batch))
        if panel.inputs != per_batch(archive, f"{name}/pool", "embeddings", upto=batch):
            raise MissingArtefact(
                f"{panel.cell} was computed before an earlier batch changed: materialise it again, or run `enrich run`"
            )
    return per_batch(archive, f"{name}/similarity")


def _test_twins(archive: Archive, name: str, pool: pd.DataFrame) -> dg.AssetCheckResult:
    """Test frames of the task (all, where none is labelled) whose nearest pool frame is a near-duplicate."""
    from enrich_assets.method.embeddings.fixed_point import SCALE
    from enrich_assets.method.ranking.worklist import greatest_similarity

    settings = archive.profile.similarity
    frames = archive.frame_table()
    test = frames[frames["split"] == "test"]
    labelled = {
        frame_id
        for batch in archive.batches
        for frame_id in archive.store.table(archive.store.receipts.require(Cell("labelled", batch)), name)["frame_id"]
    }
    if test["frame_id"].isin(labelled).any():
        test = test[test["frame_id"].isin(labelled)]
    most = max(1, settings.max_pairs // max(len(pool), 1))
    looked = test.iloc[np.linspace(0, len(test) - 1, min(len(test), most)).astype(int)].reset_index(drop=True)
    nearest, similarity = greatest_similarity(archive.vectors(looked), archive.vectors(pool))
    twins = np.flatnonzero(similarity >= settings.near_duplicate * SCALE**2)
    ids = pool["frame_id"].to_numpy()
    listed = [
        {"test_frame": frame, "pool_frame": ids[nearest[i]], "similarity": round(similarity[i] / SCALE**2, 4)}
        for i, frame in zip(twins, looked["frame_id"].iloc[twins], strict=True)
    ]
    of = f"{len(looked):,} test frames" + (f" (of {len(test):,}, evenly spaced)" if len(looked) < len(test) else "")
    said = "; ".join(f"{t['test_frame']} ~ {t['pool_frame']} ({t['similarity']})" for t in listed[:5])
    return dg.AssetCheckResult(
        check_name=TEST_TWINS,
        passed=not listed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(listed):,} of {of} at or above {settings.near_duplicate} to a pool frame"
        + (f": {said}; scores on them flatter the model" if listed else ""),
        metadata={"near_duplicates": markdown(pd.DataFrame(listed[:100]))} if listed else {},
    )


def _redundancy(work: Work, name: str) -> Made:
    from enrich_assets.method.pairs.cost import estimate_redundancy
    from enrich_assets.method.pairs.panel import sum_panels
    from enrich_assets.report.figures import redundancy_png
    from enrich_assets.store.panels import (
        estimated_table,
        near_duplicate_table,
        neighbour_table,
        redundancy_table,
    )

    archive = work.archive
    receipts = [work.receipt(f"{name}/similarity", batch) for batch in archive.batches]
    pool = archive.pool(name)
    clips, patients = _codes(pool)
    if any(receipt.figures["is_estimate"] for receipt in receipts):
        settings = archive.profile.similarity
        sampled = estimate_redundancy(archive.vectors(pool), clips, patients, n_samples=settings.sampled_pairs, seed=0)
        table = estimated_table(sampled)
        neighbours = near = pd.DataFrame()
        left_out = 0
    else:
        total = sum_panels([read_panel(archive.store, receipt) for receipt in receipts])
        table = redundancy_table(total)
        neighbours = neighbour_table(total, pool, clips, patients)
        near = near_duplicate_table(total, pool, clips, patients)
        left_out = int(total.near_duplicates_left_out)
    work.draft.table("redundancy", table)
    work.draft.table("neighbours", neighbours)
    work.draft.table("near_duplicates", near)
    shares = {f"share_over_{k}": _share_over(table, "all", k) for k in (0.5, 0.7, 0.9)}
    figures = {
        **shares,
        "frames": len(pool),
        "pairs": int(table.loc[table["relation"] == "all", "pairs"].sum()),
        "near_duplicates": len(near) + left_out,
        "near_duplicates_listed": len(near),
        "is_estimate": bool(table["is_estimate"].any()),
    }
    png = redundancy_png(table.assign(task=name, batch=""))
    work.draft.write("redundancy.png", png, note=True)
    by_relation = pd.DataFrame(
        [
            {"relation": relation, **{f"> {k}": f"{_share_over(table, relation, k):.2%}" for k in (0.5, 0.7, 0.9)}}
            for relation in table["relation"].unique()
        ]
    )
    return Made(
        figures,
        {"figure_1": picture(png, "figure 1"), "share_of_pairs": markdown(by_relation)},
        [_test_twins(archive, name, pool)],
    )


def _share_over(table: pd.DataFrame, relation: str, threshold: float) -> float:
    mine = table[table["relation"] == relation]
    return float(mine.loc[mine["lower"] >= threshold - 1e-9, "pairs"].sum() / max(mine["pairs"].sum(), 1))


# ----------------------------------------------------------------------------------------------------------- ranking


def _ranking(work: Work, name: str, arm: str, settings: ArmSettings) -> Made:
    from enrich_assets.method.ranking.coverage import coverage_at
    from enrich_assets.method.ranking.rules import random_order, rank_frames

    archive, task, seed = work.archive, work.archive.profile.tasks[name], int(work.partition)
    pool = archive.pool(name)
    n = len(pool)
    budgets = {key: budget_frames(key, n) for key in task.budgets}
    affordable = {key: size for key, size in budgets.items() if size <= n}
    ids = pool["frame_id"].to_numpy()
    start_size = min(task.start_frames(n), *affordable.values()) if affordable else task.start_frames(n)
    prefix = _bought(work, pool) if task.growth == "extend" and arm != ALL else None
    start = prefix if prefix is not None else random_order(ids, seed)[:start_size]
    cosine = settings.similarity == "cosine" and settings.rule != "random"
    vectors = archive.vectors(pool)
    with work.progress("ranking", "frames") as advance:
        ranking = rank_frames(
            settings.rule,
            settings.similarity,
            embeddings=vectors if cosine else None,
            frames=None if cosine or settings.rule == "random" else archive.frames.pixels(SIMILARITY, pool),
            frame_ids=ids,
            start=start,
            budget=n,
            seed=seed,
            device=archive.profile.device,
            progress=advance,
        )
    covered = coverage_at(vectors, ranking.order, sorted(set(affordable.values())), device=archive.profile.device)
    table = pool.loc[ranking.order, ["frame_id", "batch", "patient_id", "clip_id", "pixel_digest"]].reset_index(
        drop=True
    )
    table["similarity_to_chosen"] = ranking.cosine_to_chosen()
    work.draft.table("ranking", table)
    coverage = pd.DataFrame(
        [
            {
                "budget": size,
                **{f"coverage_p{int(100 * q):02d}": float(np.quantile(left, q)) for q in (0.05, 0.5)},
                "coverage_min": float(left.min()),
            }
            for size, left in covered.items()
            if len(left)
        ],
        columns=["budget", "coverage_p05", "coverage_p50", "coverage_min"],
    )
    work.draft.table("coverage", coverage)
    figures = {
        "frames": n,
        "start": len(start),
        "way": _way(settings),
        "extends": work.previous.digest if prefix is not None and work.previous else "",
        "budgets": budgets,
        "patients_in_first_tenth": int(table["patient_id"].head(max(1, n // 10)).nunique()),
    }
    return Made(
        figures,
        {
            "coverage": markdown(coverage.round(4)),
            "first_frames": markdown(table[["frame_id", "similarity_to_chosen"]].head(10).round(4)),
        },
    )


def _way(settings: ArmSettings) -> str:
    return f"{settings.rule} rule, {settings.similarity} similarity"


def _bought(work: Work, pool: pd.DataFrame) -> np.ndarray | None:
    """Positions in the pool of the labels bought so far: the greatest budget of the ranking before this one.

    None when there was none, when the arm chose in another way then, or when a frame of it has left the pool or changed.
    """
    before, arm = work.previous, work.cell.asset.split("/")[1]
    task = work.archive.profile.tasks[work.cell.asset.split("/")[0]]
    if before is None or before.figures.get("way") != _way(arms(task)[arm]):
        return None
    order = work.archive.store.table(before, "ranking")
    sizes = [size for size in before.figures["budgets"].values() if size <= len(order)]
    order = order.head(max(sizes, default=0))
    position = pd.Series(np.arange(len(pool)), index=pool["frame_id"])
    same = order.merge(pool[["frame_id", "pixel_digest"]], on=["frame_id", "pixel_digest"])
    if order.empty or len(same) < len(order):
        return None
    work.draft.seen[str(before.cell)] = before.digest
    return position.loc[order["frame_id"]].to_numpy()


# ------------------------------------------------------------------------------------------------------------ subset


def _subset_inputs(archive: Archive, cell: str, name: str, arm: str) -> dict[str, str]:
    return digests(archive, (f"{name}/{arm}/ranking", cell.partition("|")[2]))


def _subset(work: Work, name: str, arm: str) -> Made:
    budget, seed = budget_and_seed(work.partition)
    ranking = work.archive.store.table(work.receipt(f"{name}/{arm}/ranking", str(seed)), "ranking")
    size = budget_frames(budget, len(ranking))
    if size > len(ranking):
        raise MissingArtefact(
            f"{name}: budget {budget} is more than the {len(ranking)} frames of the pool; leave it out, or name a share ('80%')"
        )
    subset = ranking.head(size)
    work.draft.table("subset", subset[["frame_id", "batch", "patient_id", "clip_id", "pixel_digest"]])
    frames = work.archive.frame_table()
    test = set(frames.loc[frames["split"] != "train", "frame_id"])
    wrong = int(subset["frame_id"].duplicated().sum()) + len(test & set(subset["frame_id"])) + abs(len(subset) - size)
    name_of_subset = subset_id(subset["frame_id"], subset["pixel_digest"])
    figures = {
        "subset_id": name_of_subset,
        "budget": size,
        "seed": seed,
        "frames": size,
        "patients": int(subset["patient_id"].nunique()),
        "clips": int(subset["clip_id"].nunique()),
    }
    check = dg.AssetCheckResult(
        check_name="train_frames_once",
        passed=wrong == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{size} frames, {wrong} of them wrong (twice, or of test patients)",
    )
    return Made(figures, {}, [check], digest=name_of_subset)
