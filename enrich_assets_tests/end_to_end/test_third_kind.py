"""A third kind of task, registered in this file and nowhere else, goes the whole way: profile to pages, plan and lineage.

The kind: classes told apart by the nearest mean image, scored by accuracy. It has no network, no epochs that matter, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.cli import main
from enrich_assets.method.kinds import Score, TaskKind, base, kind_of, register
from enrich_assets.method.networks.trained import Trained, TrainingOptions
from enrich_assets.profiles import load_profile
from enrich_assets.running.forecast import make_plan, plan_text
from enrich_assets.store.published import query
from enrich_assets.studies.phantom import write_phantom
from enrich_assets_tests.made_home import finished, held, receipt, run, sql

SMALL = Path(__file__).parents[1] / "small.yaml"
PROFILE = f"""extends: {SMALL}
name: third
tasks:
  chambers: null
  view: null
  nearest:
    kind: nearest_centroid
    label: label
    size: 32
    initial_frames: 6
    budgets: [10]
    seeds: 2
"""


@dataclass(frozen=True)
class CentroidSettings:
    epochs: int = 1
    min_steps: int = 0
    batch_size: int = 8
    learning_rate: float = 1.0
    lr_milestones: tuple[tuple[int, float], ...] = ()


class NearestCentroid(TaskKind):
    """Each class is its mean image; a frame belongs to the nearest."""

    name = "nearest_centroid"
    answers = "class"
    metric = "accuracy"
    metric_label = "accuracy"
    network_label = "nearest mean image"
    model_type = "nearest-centroid"
    margin = 0.05
    seconds_per_label = 1.0
    hyperparameters = CentroidSettings
    needs_labels_to_pool = False

    def fit(
        self,
        images: NDArray[np.uint8],
        answers: NDArray[Any],
        n_classes: int,
        settings: Any,
        *,
        seed: int,
        **options: Unpack[TrainingOptions],
    ) -> Trained:
        means = [images[answers == code].mean(axis=0) if (answers == code).any() else None for code in range(n_classes)]
        centroids = np.stack([np.full(images.shape[1:], np.inf) if mean is None else mean for mean in means])
        return Trained({"centroids": centroids.astype(np.float32)}, [{"epoch": 1.0, "loss": 0.0}], "cpu")

    def predict(
        self, weights: dict[str, Any], images: NDArray[np.uint8], settings: Any, device: Any = None
    ) -> NDArray[Any]:
        gaps = images[:, None].astype(np.float64) - weights["centroids"][None]
        return -np.sqrt((gaps**2).mean(axis=(2, 3)))

    def possible_answers(self, images: NDArray[np.uint8], n_classes: int) -> NDArray[Any]:
        return np.arange(len(images)) % n_classes

    def score(
        self,
        predicted: NDArray[Any],
        truth: NDArray[Any],
        patients: NDArray[Any],
        classes: tuple[str, ...],
        positive: str,
    ) -> Score:
        right = (predicted.argmax(axis=1) == truth).astype(np.int64)
        table = pd.DataFrame(
            {"row": np.arange(len(truth)), "class": [classes[code] for code in truth], "truth": 1, "score": right * 1.0}
        )
        table = table.sort_values("class", kind="stable", ignore_index=True)
        return Score(float(right.mean()), np.nan, np.nan, table)

    def value_of(self, predictions: pd.DataFrame) -> float:
        return float(predictions["score"].mean())

    def class_names(self, named: tuple[str, ...] | None, found: Iterable[str], highest: int) -> tuple[str, ...]:
        return named if named is not None else tuple(sorted(set(found)))


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[TaskKind]:
    """The kind, known while this file is tested."""
    kind = register(NearestCentroid())
    yield kind
    del base._KINDS[kind.name]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, registered: TaskKind) -> Path:
    """A home of one such task, after everything; the plan of before stands in `plan.txt`."""
    home = tmp_path_factory.mktemp("third") / "home"
    home.mkdir()
    (home / "enrich.yaml").write_text(PROFILE, encoding="utf-8")
    write_phantom(str(home / "phantom"), patients=8, scale=0.15)
    archive = Archive(home, load_profile(str(home / "enrich.yaml")))
    ingest(archive, str(home / "phantom"), "first")
    (home / "plan.txt").write_text(plan_text(archive), encoding="utf-8")
    lines: list[str] = []
    outcome = run(archive, say=lines.append)
    assert not outcome.failed, outcome.failed
    assert not outcome.blocked, outcome.blocked
    (home / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    return home


@pytest.fixture
def archive(home: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setenv("ENRICH_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    return Archive(home, load_profile(str(home / "enrich.yaml")))


def test_the_profile_takes_its_defaults_from_the_kind(archive: Archive) -> None:
    task = archive.profile.tasks["nearest"]
    assert (task.metric, task.equivalence_margin, task.label_seconds) == ("accuracy", 0.05, 1.0)
    assert task.model_settings == CentroidSettings()


def test_pool_ranking_and_grid_are_made(archive: Archive) -> None:
    assert len(Catalogue(archive).pool("nearest")) > 20
    assert held(archive, "nearest/enrich/ranking").keys() == {"0", "1"}
    for arm, cells in (("enrich", {"10|0", "10|1"}), ("random", {"10|0", "10|1"}), ("all", {"all|0", "all|1"})):
        for asset in ("subset", "model", "evaluation"):
            assert held(archive, f"nearest/{arm}/{asset}").keys() == cells


def test_its_score_follows_from_its_predictions(archive: Archive) -> None:
    evaluation = receipt(archive, "nearest/all/evaluation", "all|0")
    predictions = archive.store.table(evaluation, "predictions")
    assert evaluation.metrics["metric"] == "accuracy"
    assert evaluation.metrics["value"] == kind_of("nearest_centroid").value_of(predictions)
    assert len(predictions) == receipt(archive, "nearest/test_set").metrics["frames"]


def test_it_is_published_with_its_own_metric(archive: Archive) -> None:
    found = sql(archive, "SELECT DISTINCT task, metric FROM evaluations WHERE current")
    assert found.values.tolist() == [["nearest", "accuracy"]]
    by_sql = sql(archive, "SELECT value, value_by_sql FROM recomputed")
    assert by_sql["value"].notna().all()
    assert by_sql["value_by_sql"].isna().all(), (
        "SQL says nothing of a metric that it does not know, rather than something wrong"
    )
    mean = "SELECT evaluation_id, avg(score) AS value FROM predictions GROUP BY evaluation_id"
    again = query(str(archive.published), mean).set_index("evaluation_id")["value"]
    stored = sql(archive, "SELECT evaluation_id, value FROM evaluations").set_index("evaluation_id")["value"]
    pd.testing.assert_series_equal(again.sort_index(), stored.sort_index())
    assert sql(archive, "FROM comparisons")["task"].eq("nearest").all()
    assert sql(archive, "SELECT DISTINCT metric FROM curves")["metric"].tolist() == ["accuracy"]


def test_the_page_and_the_run_say_it_in_its_words(archive: Archive) -> None:
    page = archive.report.read_text(encoding="utf-8")
    assert "accuracy" in page
    assert "Jaccard" not in page
    assert ">AUC<" not in page
    assert "enrich accuracy 0." in (archive.home / "lines.txt").read_text(encoding="utf-8")


def test_it_is_planned_and_then_done(archive: Archive) -> None:
    assert "nearest: training" in (archive.home / "plan.txt").read_text(encoding="utf-8")
    assert make_plan(archive).cells == set()
    finished(archive)


def test_each_chain_leads_to_its_files(archive: Archive) -> None:
    done = CliRunner().invoke(main, ["lineage", "--all"])
    assert done.exit_code == 0, done.output
    assert "6 evaluations, every link holds" in done.output
    assert "accuracy 0." in done.output


def test_what_to_label_next_is_asked_in_its_words(archive: Archive, tmp_path: Path) -> None:
    """The phantom's train frames are all labelled, and the command says so of this task as of any other."""
    done = CliRunner().invoke(main, ["worklist", "nearest", "--budget", "3", "--out", str(tmp_path / "next.csv")])
    assert done.exit_code == 1
    assert "nearest: every train frame has a label already" in done.output
