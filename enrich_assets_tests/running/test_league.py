"""`enrich league` on the tests' small home: a design read, what it refuses, and the results written from what was published."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from enrich_assets.archive import Archive
from enrich_assets.cli import main
from enrich_assets.running.league import read_design
from enrich_assets.running.league.homes import Design, archive_name
from enrich_assets.running.league.scores import Found, collect
from enrich_assets.running.league.text import league_text
from enrich_assets.store.published import query
from enrich_assets_tests.made_home import opened
from enrich_assets_tests.method.statistics.made_contest import contest

DESIGN = Path(__file__).parents[1] / "benchmarks" / "league.yaml"
SMALL = {
    "default": "vae_k_center_greedy",
    "arms": {"vae": ["k-center-greedy"]},
    "profile": {"extends": "demo", "tasks": {"view": {"budgets": [10, 20]}}},
}


def write(folder: Path, **over: object) -> str:
    path = folder / "design.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **over}), encoding="utf-8")
    return str(path)


def test_the_committed_design_is_what_it_says() -> None:
    design = read_design(str(DESIGN))
    assert len(design.blind) == 7 + 7 + 3 + 1
    assert design.blind["pca_typiclust"] == {"embedding": "pca", "rule": "typiclust"}
    lung = design.profile_of("pocus_lung_clips", see_labels=True)
    assert set(lung["tasks"]["view"]["arms"]) == {*design.blind, *design.sighted}
    assert lung["tasks"]["masks"] is None
    assert lung["tasks"]["view"]["budgets"] == [24, 72]  # of the profile
    assert design.profile_of("ucsf_echo_views", see_labels=False)["tasks"]["view"]["budgets"] == [16, 32]
    assert design.profile["tasks"]["view"].get("arms") is None  # nothing was written into the design itself


@pytest.mark.parametrize(
    ("archive", "name"),
    [("phantom", "phantom"), ("/a/lung", "lung"), ("/a/lung/manifest.csv", "lung"), ("s3://bucket/lung/", "lung")],
)
def test_an_archive_is_called_by_its_folder(archive: str, name: str) -> None:
    assert archive_name(archive) == name


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"default": "vae_max"}, "none of the arms"),
        ({"rules": ["mean"]}, "'rules' is no part of a design"),
    ],
)
def test_a_wrong_design_is_refused_in_a_sentence(tmp_path: Path, over: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_design(write(tmp_path, **over))


@pytest.fixture
def league_home(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of homes, in which the small one is the archive `tiny`; its arm goes by the name of the design's."""
    folder = tmp_path / "homes" / "league"
    folder.mkdir(parents=True)
    small.rename(folder / "tiny")
    monkeypatch.setenv("ENRICH_HOME", str(folder.parent))
    return folder


def test_results_are_written_from_what_was_published(league_home: Path, tmp_path: Path) -> None:
    # The small home's arm is called `enrich`; the design's name of it is `vae_k_center_greedy`, so here `enrich` is just an arm.
    result = CliRunner().invoke(
        main, ["league", "tiny", "--only-read", "--design", write(tmp_path), "--out", str(tmp_path / "r.md")]
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    home = league_home / "tiny"
    means = query(
        home / "enrich.duckdb",
        "SELECT arm, avg(value) AS mean FROM evaluations WHERE current AND task = 'view' AND arm <> 'all' GROUP BY arm",
    ).set_index("arm")["mean"]
    for arm in ("enrich", "random"):
        row = next(
            line
            for line in text.splitlines()
            if line.startswith(f"| `{arm}` |") and "labels" not in line and line.count("|") == 10
        )
        assert row.split("|")[4].strip() == f"{means[arm]:.3f}"
    sides = query(home / "enrich.duckdb", "SELECT count(DISTINCT patient_id) AS n FROM frames WHERE split = 'test'")
    assert f"of {int(sides['n'].iloc[0])} |" in text
    assert "Archives are too few (1) for a test of ranks" in text
    assert "**By the rule stated beforehand the default, `vae_k_center_greedy`, stays.**" in text
    frames = query(home / "enrich.duckdb", "SELECT DISTINCT study_id, patient_id, path FROM frames")
    named = {str(value) for column in frames for value in frames[column] if len(str(value)) > 3}
    assert named
    assert not [name for name in named if name in text]  # counts only: nothing of the archive itself


def test_archives_that_rank_the_arms_alike_are_said_to_agree() -> None:
    facts = {"task": "view", "metric": "auc", "train_frames": 99, "train_patients": 9, "test_frames": 60, "test_patients": 6,
             "test_classes": "6 A4C", "trained": 18, "asked": 18}  # fmt: skip
    found = [
        Found(name, {"view": contest(name)}, pd.DataFrame([facts]), pd.DataFrame(), pd.DataFrame()) for name in "abc"
    ]
    design = Design(arms={}, default="default", profile={})
    text = league_text(design, found, heading="# Results")
    # Four arms in one order three times: 12 * 3 / (4 * 5) * (9 + 1 + 1 + 9) / 4, as 24 of 24 ** 3 draws of orders have it.
    assert re.search(
        r"Friedman's statistic 9\.0, p = 0\.00\d+ by permutation: the archives agree more than chance", text
    )


def test_an_archive_of_which_a_task_is_not_begun_is_not_whole(small: Path) -> None:
    archive = opened(small)
    assert collect(archive).is_whole
    tasks = archive.profile.tasks
    more = archive.profile.model_copy(update={"tasks": {**tasks, "later": tasks["view"]}})
    found = collect(Archive(small, more))
    assert not found.is_whole
    later = found.facts.set_index("task").loc["later"]
    assert later["trained"] == 0 < later["asked"]


def test_two_archives_of_one_name_and_one_that_was_never_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path))
    same = CliRunner().invoke(main, ["league", "a/x", "b/x", "--only-read", "--design", write(tmp_path)])
    assert same.exit_code == 1
    assert "two archives are called x" in same.output
    absent = CliRunner().invoke(main, ["league", "x", "--only-read", "--design", write(tmp_path)])
    assert absent.exit_code == 1
    assert "without --only-read" in absent.output
