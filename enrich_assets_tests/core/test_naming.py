"""What runs are called: task, labels, seed or batch, and what is made of which arms."""

from __future__ import annotations

import pytest

from enrich_assets.core.naming import labels_of, title_of
from enrich_assets.defs.assets import graph_of
from enrich_assets.profiles import load_profile

GRAPH = graph_of(load_profile("demo"))
GRID = [f"view/{arm}/{asset}" for arm in ("enrich", "random") for asset in ("subset", "model", "evaluation")]


@pytest.mark.parametrize(
    ("keys", "partition", "title"),
    [
        (GRID, "25|3", "view, 25 labels, seed 3: subset, model, evaluation (enrich, random)"),
        (["view/all/model"], "all|0", "view, all labels, seed 0: model (all)"),
        (["view/enrich/ranking"], "2", "view, seed 2: ranking (enrich)"),
        (["studies", "frames", "split", "label_presence", "labels"], "first", "batch first: studies, frames, split, label_presence and 1 more"),
        (["embeddings/vae", "view/pool", "view/similarity/vae"], "first", "view, batch first: embeddings, pool, similarity"),
        (["results", "report"], "", "results, report"),
        (["view/test_set@scorable"], "", "view: checks of test_set"),
    ],
)  # fmt: skip
def test_a_run_is_called_by_what_it_makes(keys: list[str], partition: str, title: str) -> None:
    assert title_of([GRAPH[key] for key in keys], partition) == title


def test_a_share_of_the_labels_is_called_one() -> None:
    assert labels_of("20%") == "20% of the labels"
