"""Sites: kept with the studies, held against the classes, published, and asked for in worklists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.archive.sides.sites import study_sites
from enrich_assets.archive.sides.summary import side_report
from enrich_assets.core.stages import Goal
from enrich_assets.method.statistics.association import class_by_site
from enrich_assets.profiles import ProfileError, load_profile
from enrich_assets.running.leave_out import prepare, results_lines, sites_of, with_budget_keys
from enrich_assets_tests.defs.made_archive import opened, planner_of, write_stills
from enrich_assets_tests.made_home import finished, sql

PROFILE = """
sites: [hospital]
split: {test_share: 0.25}
frames: {crop: none}
vae: {max_steps: 60, evaluate_every: 30, beta: 0.001, min_active_share: 0, max_error_ratio: 100, min_retrieval_ratio: 0}
tasks: {chambers: null, view: {quota_per_site: 1}}
"""


def two_hospitals(n: int) -> list[dict[str, object]]:
    """n patients with two stills each; hospital A sends one view, B the other, but for the first two patients."""
    return [
        {
            "patient_id": f"p{i:02d}",
            "clip_id": f"c{c}",
            "hospital": "AB"[i % 2],
            "label": ["NT", "A4C"][(i % 2) ^ (i < 2)],
        }
        for i in range(n)
        for c in range(2)
    ]


def test_a_study_of_two_sites_is_of_both_and_one_of_none_of_none() -> None:
    rows = pd.DataFrame({"study_id": ["s", "s", "t", "u"], "hospital": ["B", "A", " C ", None]})
    found = study_sites(rows, ["hospital", "scanner"])
    assert dict(found[["study_id", "site"]].itertuples(index=False)) == {"s": "A + B", "t": "C"}


def test_a_site_that_nobody_is_of_cannot_be_left_out_in_silence(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "sites: [hospital]\nsplit: {by: site, leave_out: Z}\n")
    rows = [
        {**row, "hospital": "AB"[number % 2]} for number, row in enumerate(two_hospitals(3))
    ]  # each patient at both
    ingest(archive, str(write_stills(tmp_path / "one", rows, side=24)), "one")
    assert any("no study is of hospital 'Z'; there are: A, B" in line for line in side_report(archive))
    assert sites_of(archive, "hospital") == ["A", "B"], "not A + B"


def test_class_and_hospital_going_together_is_a_warning_at_ingest(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", PROFILE)
    ingest(archive, str(write_stills(tmp_path / "one", two_hospitals(16), side=24)), "one")
    (warning,) = [line for line in side_report(archive) if "go together" in line]
    of_patients = [(row["hospital"], row["label"]) for row in two_hospitals(16)[::2]]
    expected = class_by_site(*zip(*of_patients, strict=True))
    assert f"Cramer's V {expected.cramers_v:.2f} over patients" in warning
    assert "A: A4C 1, NT 7; B: A4C 7, NT 1" in warning
    assert "enrich leave-out hospital" in warning


def test_a_column_that_no_manifest_has_is_named(tmp_path: Path) -> None:
    archive = opened(tmp_path / "home", "sites: [scanner]\n")
    ingest(archive, str(write_stills(tmp_path / "one", two_hospitals(4), side=24)), "one")
    assert any("no manifest has the column 'scanner'" in line for line in side_report(archive))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("split: {by: site}", "needs `sites`"),
        ("split: {leave_out: A}", "go with `by: site`"),
        ("sites: [a]\nsplit: {by: site, column: b}", "is none of `sites`: a"),
        ("sites: [a, a]", "each once"),
        ("tasks: {view: {quota_per_site: 3}}", "tasks.view.quota_per_site needs `sites`"),
    ],
)
def test_a_profile_that_asks_for_sites_it_does_not_name_is_refused(tmp_path: Path, text: str, says: str) -> None:
    profile = tmp_path / "enrich.yaml"
    profile.write_text(f"extends: demo\n{text}\n", encoding="utf-8")
    with pytest.raises(ProfileError, match=says):
        load_profile(str(profile))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two hospitals, half of it labelled, published without training."""
    folder = tmp_path_factory.mktemp("sites")
    rows = two_hospitals(16)
    for row in rows:
        if row["clip_id"] == "c1":
            row["label"] = None
    archive = opened(folder / "home", PROFILE)
    write_stills(folder / "one", rows, side=64)
    yy, xx = np.mgrid[:64, :64]
    for number, row in enumerate(rows):  # discs: something that a VAE can learn in a few steps
        x, y = 8 + number * 37 % 48, 8 + number * 11 % 48
        disc = 40 + 200 * ((yy - y) ** 2 + (xx - x) ** 2 < 120)
        Image.fromarray(disc.astype(np.uint8)).save(folder / "one" / str(row["path"]))
    ingest(archive, str(folder / "one"), "one")
    (folder / "home" / "enrich.yaml").write_text((folder / "home" / "own.yaml").read_text(encoding="utf-8"), "utf-8")
    finished(archive, Goal(train=False))
    return folder / "home"


@pytest.fixture
def archive(home: Path) -> Archive:
    return Archive(home, load_profile(str(home / "enrich.yaml")))


def test_sites_are_published_with_their_counts(archive: Archive) -> None:
    counts = sql(
        archive,
        "SELECT site, sum(patients) AS p, sum(frames) AS f FROM sites WHERE task = '' GROUP BY site ORDER BY site",
    )
    assert counts.values.tolist() == [["A", 8, 16], ["B", 8, 16]]
    joined = sql(
        archive, "SELECT site, count(*) AS n FROM frames JOIN study_sites USING (study_id) GROUP BY site ORDER BY site"
    )
    assert joined.values.tolist() == [["A", 16], ["B", 16]]
    (one,) = sql(archive, "FROM site_association").to_dict("records")
    assert (one["n"], one["n_sites"], one["n_classes"], one["confounded"]) == (16, 2, 2, True)
    (failed,) = sql(archive, "FROM checks WHERE asset = 'sites'").to_dict("records")
    assert not failed["passed"]


def test_every_pair_of_a_site_is_counted(archive: Archive) -> None:
    pairs = sql(
        archive,
        "SELECT site, sum(pairs) AS pairs, sum(share) AS share FROM site_redundancy GROUP BY site ORDER BY site",
    )
    assert pairs["pairs"].tolist() == [16 * 15 // 2] * 2
    assert pairs["share"].tolist() == pytest.approx([1, 1])


def test_a_worklist_takes_so_many_frames_of_a_site(archive: Archive) -> None:
    proposed = sql(archive, "SELECT site FROM worklist JOIN frames USING (frame_id) JOIN study_sites USING (study_id)")
    assert sorted(proposed["site"]) == ["A", "B"], "one of each"


def test_without_sites_there_is_no_such_asset(tmp_path: Path) -> None:
    assert "sites" not in planner_of(opened(tmp_path / "home")).graph.steps
    assert "sites" in planner_of(opened(tmp_path / "home", "sites: [hospital]\n")).graph.steps


def test_leaving_a_site_out_takes_over_all_that_does_not_follow_from_the_split(archive: Archive) -> None:
    assert sites_of(archive, "hospital") == ["A", "B"]
    place = prepare(archive, "hospital", "B")
    other = Archive(place, load_profile(str(place / "enrich.yaml")), store_url=str(place / "store"))
    planner = planner_of(other)
    verdicts = {
        key: planner.verdict(planner.graph[key], partition)
        for key, partition in [
            *((key, "one") for key in ("studies", "frames", "labels", "label_presence", "embeddings/vae", "split")),
            ("vae_weights", ""),
            ("vae_weights@health", ""),
        ]
    }
    assert {key for key, verdict in verdicts.items() if not verdict.is_fresh} == {"split"}
    own = prepare(archive, "hospital", "B", own_vae=True)
    assert not (own / "store" / "artefacts" / "vae_weights").exists()
    assert sites_of(other, "hospital") == ["A", "B"]


def test_results_of_sites_of_other_sizes_stand_under_one_budget(archive: Archive) -> None:
    settings = archive.profile.tasks["view"].model_copy(update={"budgets": ("20%", "50%")})
    sizes = {"A": (79, 198, 396), "B": (85, 213, 426)}
    parts = []
    for site, budgets in sizes.items():
        rows = [("view", arm, n, 0.5 + n / 1000) for n, arm in zip(budgets, ("enrich", "enrich", "all"), strict=True)]
        found = pd.DataFrame(rows, columns=["task", "arm", "budget", "mean"]).assign(
            site=site, patients=3, n_test=9, metric="auc"
        )
        parts.append(with_budget_keys(found, {"view": settings}))
    table = pd.concat(parts, ignore_index=True)
    assert table["budget_key"].tolist() == ["20%", "50%", "all"] * 2
    lines = "\n".join(results_lines(table, "hospital"))
    assert "NaN" not in lines
    assert "0.5820" in lines or "0.582" in lines, "the mean of 0.579 and 0.585"


def test_leaving_out_needs_a_column_of_the_profile(archive: Archive) -> None:
    with pytest.raises(ValueError, match="is none of the profile's `sites`"):
        sites_of(archive, "scanner")
