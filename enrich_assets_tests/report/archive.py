"""A made-up archive's published tables, realistic in shape, for the tests of the report. No test is in here.

Deterministic; small numbers of frames, the paper's habits: enrich ahead of random at small budgets for one task,
behind at one budget of the other, one refused file, near-duplicates of which some conflict.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pandas as pd

from enrich_assets.method.statistics.adequacy import Facts, adequacy
from enrich_assets.method.statistics.comparison import compare
from enrich_assets.method.statistics.resampling import Bootstrap
from enrich_assets.method.statistics.sufficient import smallest_sufficient_budget
from enrich_assets_tests.method.statistics.by_patients import by_patients

NOON = pd.Timestamp("2026-11-23 12:00:00")
TASKS = {
    "view": {"metric": "auc", "budgets": (50, 100, 200, 400), "margin": 0.01, "seconds": 1.0, "seeds": 5},
    "chambers": {"metric": "jaccard", "budgets": (20, 40, 80), "margin": 0.02, "seconds": 300.0, "seeds": 3},
}
CURVES = {
    ("view", "enrich"): lambda b: 0.972 - 3.0 / b**1.2,
    ("view", "random"): lambda b: 0.972 - 3.4 / b,
    ("chambers", "enrich"): lambda b: 0.80 - 1.6 / b,
    ("chambers", "random"): lambda b: 0.805 - 1.5 / b,
}
CEILING = {"view": (0.972, 0.0025), "chambers": (0.802, 0.006)}


def digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def image(frame_id: str) -> np.ndarray[Any, Any]:
    """A speckled sector whose look depends on the clip, a little on the frame."""
    study, clip, index = frame_id.split("/")
    of_clip = np.random.default_rng(int(digest(study, clip)[:8], 16))
    y, x = np.mgrid[0:80, 0:80] / 80
    turn = of_clip.uniform(-0.5, 0.5)
    depth = np.hypot(x - 0.5, y)
    cone = (np.abs(np.arctan2(x - 0.5 - turn * 0.1, y + 0.05)) < 0.62) & (depth < 0.98)
    shade = np.zeros_like(x)
    for _ in range(5):
        cx, cy, r = of_clip.uniform(0.3, 0.7), of_clip.uniform(0.25, 0.8), of_clip.uniform(0.05, 0.16)
        beat = 1 + 0.2 * np.sin(int(index) / 2)
        shade += np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / (r * beat) ** 2))
    speckle = np.random.default_rng(int(digest(frame_id)[:8], 16)).rayleigh(0.6, x.shape)
    return np.clip(255 * cone * (0.18 + 0.5 * np.exp(-depth) * (1 - 0.8 * np.tanh(shade))) * speckle, 0, 255).astype(
        np.uint8
    )


def frame_table(patients: int, frames_of_clip: int) -> pd.DataFrame:
    rows = []
    for p in range(patients):
        for c in range(1 + p % 3):
            for i in range(frames_of_clip + (p * 7 + c * 3) % 12):
                study, clip = f"s{p:03d}", f"c{c}"
                rows.append(
                    {
                        "frame_id": f"{study}/{clip}/{i}",
                        "clip_id": f"{study}/{clip}",
                        "study_id": study,
                        "patient_id": f"p{p:03d}",
                        "batch": "first" if p < patients * 0.8 else "second",
                        "split": "test" if p % 4 == 3 else "train",
                        "frame_index": i,
                        "pixel_digest": digest(study, clip, i),
                        "path": f"{study}_{clip}.dcm",
                    }
                )
    return pd.DataFrame(rows)


def evaluation_rows(task: str, pool: int, seeds: int | None = None) -> list[dict[str, object]]:
    about = TASKS[task]
    rng = np.random.default_rng(len(task))
    ceiling, noise = CEILING[task]
    cells = [
        (arm, b, s, CURVES[task, arm](b))
        for arm in ("enrich", "random")
        for b in about["budgets"]
        for s in range(seeds or about["seeds"])
    ]
    cells += [("all", pool, s, ceiling) for s in range(seeds or about["seeds"])]
    rows = []
    for arm, budget, seed, mean in cells:
        value = float(np.clip(mean + rng.normal(0, noise), 0, 1))
        key = digest(task, arm, budget, seed)[:16]
        rows.append(
            {
                "evaluation_id": key,
                "task": task,
                "arm": arm,
                "budget": budget,
                "seed": seed,
                "n_train": budget,
                "n_test": 210,
                "metric": about["metric"],
                "value": value,
                "ci_low": value - 0.02,
                "ci_high": min(1.0, value + 0.015),
                "subset_id": digest("subset", key),
                "model_digest": digest("model", key),
                "device": "cpu (2 threads)",
                "seconds": 3.1 + budget / 100,
                "mlflow_run_id": digest("run", key)[:32],
                "mlflow_model_id": "m-" + digest("logged", key)[:32],
                "dagster_run_id": digest("dagster", key)[:36],
                "evaluated_at": NOON,
                "current": True,
            }
        )
    return rows


def redundancy_rows(task: str | None, whole: str = "pool") -> list[dict[str, object]]:
    rng = np.random.default_rng(5)
    lower = np.round(np.arange(-1, 1, 0.01), 2)
    drawn = {
        "within clip": 1 - rng.gamma(2.0, 0.05, 30_000),
        "within patient": rng.normal(0.62, 0.16, 12_000),
        "between patients": rng.normal(0.34, 0.19, 400_000),
    }
    counts = {k: np.histogram(np.clip(v, -1, 0.9999), np.append(lower, 1))[0] for k, v in drawn.items()}
    counts["all"] = sum(counts.values())
    return [
        {
            "whole": whole,
            "task": task,
            "relation": relation,
            "lower": low,
            "upper": round(low + 0.01, 2),
            "pairs": int(n),
            "share": n / pairs.sum(),
            "is_estimate": False,
            "ci_low": None,
            "ci_high": None,
        }
        for relation, pairs in counts.items()
        for low, n in zip(lower, pairs, strict=True)
    ]


def panel_rows(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The rows of `redundancy_rows` as the panels of two batches, which add up to them."""
    frame = pd.DataFrame(rows)
    first = frame.assign(batch="first", pairs=frame["pairs"] // 3)
    second = frame.assign(batch="second", pairs=frame["pairs"] - first["pairs"])
    panels = pd.concat([first, second], ignore_index=True)
    total = panels.groupby(["task", "batch", "relation"])["pairs"].transform("sum")
    return panels.assign(share=panels["pairs"] / total, ci_low=None, ci_high=None).to_dict("records")


def study_tables(frames: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Clips, studies and files of the frames; two files were refused."""
    clips = frames.groupby(["clip_id", "study_id", "patient_id", "batch", "split", "path"], as_index=False)
    clips = clips.agg(n_frames=("frame_id", "count")).assign(file_sha256="", height=300, width=400, crop="")
    studies = frames.groupby(["study_id", "patient_id", "batch", "split"], as_index=False)
    studies = studies.agg(n_clips=("clip_id", "nunique"), n_frames=("frame_id", "count"))
    files = clips[["path", "batch", "n_frames"]].assign(sha256="", status="read", reason=None)
    refused = pd.DataFrame(
        [
            {
                "path": "s007_broken.dcm",
                "batch": "first",
                "reason": "pixel data ends after 3 of 20 frames: export the file again <or leave it out>",
            },
            {"path": "notes.txt", "batch": "second", "reason": "not an image, video or DICOM file"},
        ]
    ).assign(sha256="", status="refused", n_frames=0)
    return {
        "clips": clips,
        "studies": studies.assign(received_at=NOON, source="manifest.csv", deidentification="keyed hashes"),
        "files": pd.concat([files, refused], ignore_index=True),
    }


def label_rows(task: str, pool: pd.DataFrame) -> list[dict[str, object]]:
    """A view of each frame, the same within a clip but for a few; a mask where the task is segmentation."""
    rows = []
    for f in pool.itertuples():
        view = "A4C" if int(digest(f.clip_id)[:2], 16) < 110 else "NT"
        view = "NT" if int(digest(f.frame_id)[:2], 16) < 25 else view
        rows.append(
            {
                "frame_id": f.frame_id,
                "task": task,
                "label": view if task == "view" else None,
                "mask_path": None if task == "view" else f"masks/{f.frame_id}",
                "mask_digest": None,
                "source": "manifest.csv",
                "author": None,
                "recorded_at": NOON,
                "current": True,
            }
        )
    return rows


def order_of(ids: list[str], arm: str, seed: int) -> list[str]:
    """A ranking: ENRICH takes the first frame of each clip before the second; random takes any."""
    order = sorted(ids, key=lambda frame_id: digest(arm, seed, frame_id))
    return sorted(order, key=lambda frame_id: int(frame_id.split("/")[2])) if arm == "enrich" else order


def ranking_rows(task: str, arm: str, seed: int, order: list[str]) -> list[dict[str, object]]:
    return [
        {
            "task": task,
            "arm": arm,
            "seed": seed,
            "position": i,
            "frame_id": frame_id,
            "current": True,
            "similarity_to_chosen": None if i < 10 else 0.2 + 0.7 * i / len(order),
        }
        for i, frame_id in enumerate(order)
    ]


def subset_row(task: str, arm: str, budget: int, seed: int, chosen: list[str]) -> dict[str, object]:
    coverage = 0.55 + 0.08 * np.log(budget) / 3 + (0.06 if arm == "enrich" else 0)
    return {
        "subset_id": digest("subset", digest(task, arm, budget, seed)[:16]),
        "task": task,
        "arm": arm,
        "budget": budget,
        "seed": seed,
        "n_frames": budget,
        "n_patients": len({frame_id.split("/")[0] for frame_id in chosen}),
        "n_clips": len({frame_id.rpartition("/")[0] for frame_id in chosen}),
        "coverage_p50": coverage + 0.2,
        "coverage_p05": coverage,
        "coverage_min": coverage - (0.1 if arm == "enrich" else 0.35),
        "current": True,
    }


def neighbour_rows(task: str, clip: list[str]) -> list[dict[str, object]]:
    """The frames next to each frame of a clip, at most two on either side."""
    rows = []
    for i, frame_id in enumerate(clip):
        beside = [k for k in (i - 1, i + 1, i - 2, i + 2) if 0 <= k < len(clip)]
        rows += [
            {
                "task": task,
                "frame_id": frame_id,
                "rank": rank,
                "neighbour_id": clip[k],
                "similarity": 0.99 - 0.02 * rank - 0.001 * i,
                "relation": "within clip",
            }
            for rank, k in enumerate(beside, 1)
        ]
    return rows


def near_duplicate_rows(task: str, clip_id: str, clip: list[str]) -> list[dict[str, object]]:
    """The first two frames of some clips; half of these pairs carry different labels."""
    chance = digest(clip_id)
    if len(clip) < 2 or int(chance[:2], 16) >= 60:
        return []
    return [
        {
            "task": task,
            "frame_id": clip[0],
            "other_id": clip[1],
            "similarity": 0.993,
            "relation": "within clip",
            "labels_conflict": task == "view" and int(chance[2:4], 16) < 128,
        }
    ]


def leak_table(frames: pd.DataFrame) -> pd.DataFrame:
    """Twenty twins across the split, the first three of identical pixels under two labels; a contradiction; two ids of one."""
    train, test = (frames[frames.split == side].reset_index(drop=True) for side in ("train", "test"))
    last = train[train.patient_id != train.patient_id[0]].reset_index(drop=True)
    ends = [(train.iloc[n], test.iloc[n]) for n in range(20)]
    ends += [(train.iloc[0], train.iloc[1]), (train.iloc[2], last.iloc[0])]
    rows = []
    for n, (one, other) in enumerate(ends):
        conflict = n < 3 or n == 20
        rows.append(
            {
                "frame_id": one.frame_id,
                "other_id": other.frame_id,
                "patient_id": one.patient_id,
                "other_patient_id": other.patient_id,
                "split": one.split,
                "other_split": other.split,
                "similarity": 1.0 if n < 3 else 0.993,
                "identical_pixels": n < 3,
                "relation": "within clip" if n == 20 else "between patients",
                "across_split": n < 20,
                "labels_conflict": conflict,
                "task": "view" if conflict else None,
                "label": "A4C" if conflict else None,
                "other_label": "NT" if conflict else None,
            }
        )
    return pd.DataFrame(rows).astype({"labels_conflict": "boolean"})


def task_rows(task: str, train: pd.DataFrame, seeds: int | None) -> dict[str, list[dict[str, object]]]:
    """The rows of one task, by table."""
    pool = train if task == "view" else train.groupby("clip_id").head(3)
    redundancy = redundancy_rows(task)
    rows: dict[str, list[dict[str, object]]] = {
        "labels": label_rows(task, pool),
        "evaluations": evaluation_rows(task, len(pool), seeds),
        "subsets": [],
        "subset_frames": [],
        "rankings": [],
        "neighbours": [],
        "near_duplicates": [],
        "redundancy": redundancy,
        "panel_redundancy": panel_rows(redundancy),
    }
    for arm, seed in itertools.product(("enrich", "random"), range(seeds or TASKS[task]["seeds"])):
        order = order_of(list(pool.frame_id), arm, seed)
        rows["rankings"] += ranking_rows(task, arm, seed, order)
        for budget in TASKS[task]["budgets"]:
            subset = subset_row(task, arm, budget, seed, order[:budget])
            rows["subsets"].append(subset)
            rows["subset_frames"] += [
                {"subset_id": subset["subset_id"], "position": i, "frame_id": frame_id}
                for i, frame_id in enumerate(order[:budget])
            ]
    for clip_id, members in pool.groupby("clip_id"):
        rows["neighbours"] += neighbour_rows(task, list(members.frame_id))
        rows["near_duplicates"] += near_duplicate_rows(task, clip_id, list(members.frame_id))
    return rows


def conclusions(task: str, evaluations: list[dict[str, object]]) -> tuple[pd.DataFrame, ...]:
    """Comparisons, sufficient budgets and adequacy of one task; it can tell, but for its few seeds where it has them."""
    about = TASKS[task]
    values = pd.DataFrame(evaluations)[["arm", "budget", "seed", "value"]]
    values["value_at_half"] = values["value"] - 0.001
    tested = by_patients(values)
    compared = compare(values, tested, margin=about["margin"])
    sufficient = smallest_sufficient_budget(
        values, compared, tested, seconds_per_label=about["seconds"], bootstrap=Bootstrap(draws=200)
    )
    facts = Facts({"A4C": 200, "NT": 200}, 200, 2000, [0.01], about["seconds"])
    answers = adequacy(values, tested, facts, margin=about["margin"])
    return tuple(table.assign(task=task) for table in (compared, sufficient, answers))


CHECKS = [
    {
        "asset": "vae_weights",
        "check_name": "health",
        "passed": True,
        "severity": "ERROR",
        "description": "98 of 128 units active; reconstruction error 0.0041 against 0.019",
    },
    {
        "asset": "embeddings",
        "check_name": "drift",
        "passed": False,
        "severity": "WARN",
        "description": "second: reconstruction error 1.6 times that of the training batch",
    },
]


def tables(
    *,
    tasks: tuple[str, ...] = ("view", "chambers"),
    seeds: int | None = None,
    patients: int = 40,
    compared: bool = True,
) -> dict[str, pd.DataFrame]:
    """All published tables of the archive (predictions left out: the report does not read them).

    seeds: of each task, its own number where None. compared: False leaves comparisons and sufficient budgets empty.
    """
    frames = frame_table(patients, 14)
    rows = {task: task_rows(task, frames[frames.split == "train"], seeds) for task in tasks}
    of_tasks = {
        name: pd.DataFrame([row for task in tasks for row in rows[task][name]]) for name in next(iter(rows.values()))
    }
    compared_tasks = [conclusions(task, rows[task]["evaluations"]) for task in tasks] if compared else []
    comparisons, sufficient, answers = (
        pd.concat([of_task[i] for of_task in compared_tasks], ignore_index=True) if compared else pd.DataFrame()
        for i in range(3)
    )
    wholes = pd.DataFrame([row for whole in ("archive", "train") for row in redundancy_rows(None, whole)])
    of_tasks["redundancy"] = pd.concat([of_tasks["redundancy"], wholes], ignore_index=True)
    return {
        "frames": frames,
        **study_tables(frames),
        **of_tasks,
        "leaks": leak_table(frames),
        "comparisons": comparisons,
        "sufficient": sufficient,
        "adequacy": answers,
        "checks": pd.DataFrame(CHECKS),
    }


def meta() -> dict[str, Any]:
    """What no table holds: seconds by stage, the VAE's training, labelling times."""
    step = np.arange(100, 1600, 100)
    history = pd.DataFrame(
        {
            "step": step,
            "loss": 900 + 600 * np.exp(-step / 300),
            "reconstruction": 870 + 600 * np.exp(-step / 300),
            "kl": 30 * (1 - np.exp(-step / 200)),
        }
    )
    for name in ("loss", "reconstruction", "kl"):
        history[f"held_out_{name}"] = history[name] * 1.03 + np.maximum(0, step - 1100) / 40
    return {
        "tasks": ["view", "chambers"],
        "seconds_by_stage": {"frames": 21.4, "vae_weights": 74.0, "embeddings": 3.2, "similarity": 0.6, "model": 160.3},
        "seconds_per_label": {"view": 1.0, "chambers": 300.0},
        "leaks": {"across_split": 20, "left_out": 7, "all_pairs_known": True},
        "advice": {"view": "Estimate: the next 100 labels after 400 add 0.0011 AUC; margin 0.01. Stop."},
        "vae_history": history,
        "vae_health": {
            "active_units": 98,
            "latent": 128,
            "reconstruction_error": 0.0041,
            "mean_image_error": 0.019,
            "retrieval_rank1": 0.91,
            "retrieval_chance": 0.03,
        },
        "versions": {"enrich-assets": "0.1.0", "torch": "2.13.0"},
    }
