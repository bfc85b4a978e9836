"""Rows to publish, for the tests of the published file. No test is in here."""

from __future__ import annotations

import pandas as pd


def evaluation(name: str, metric: str, value: float, **more: object) -> dict[str, object]:
    row: dict[str, object] = {
        "evaluation_id": name,
        "task": "classification",
        "arm": "enrich",
        "budget": 4,
        "seed": 0,
        "metric": metric,
        "value": value,
        "subset_id": "s1",
        "current": True,
    }
    return row | more


def generation(g: int) -> dict[str, pd.DataFrame]:
    """Tables that all say `g`, so that a mixture of two publishes would show."""
    frames = {
        "clip_id": "s/c",
        "study_id": "s",
        "patient_id": "p",
        "batch": "b",
        "frame_index": 0,
        "path": "x.png",
    }
    return {
        "evaluations": pd.DataFrame([evaluation(f"e{i}", "auc", float(g)) for i in range(50 + g)]),
        "frames": pd.DataFrame([{"frame_id": f"s/c/{i}", **frames, "pixel_digest": str(g)} for i in range(300)]),
    }


COHERENT = """
    SELECT (SELECT count(*) - 50 FROM evaluations) AS rows, (SELECT min(value) FROM evaluations) AS low,
           (SELECT max(value) FROM evaluations) AS high, (SELECT min(pixel_digest) FROM frames) AS first,
           (SELECT max(pixel_digest) FROM frames) AS last, (SELECT count(*) FROM frames) AS n
"""
