"""What a dataset browser is shown of a task: the published tables, frame by frame."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from enrich_assets.api.home import open_home
from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.cli import main
from enrich_assets.running.exploring import Explorable, studio, write_explorable
from enrich_assets.running.frames import UnknownFrames
from enrich_assets_tests.made_home import opened, sql


@pytest.fixture
def archive(small: Path) -> Archive:
    return opened(small)


def facts_of(shown: Explorable) -> pd.DataFrame:
    return pd.read_parquet(shown.folder / "facts.parquet")


def about(shown: Explorable) -> dict[str, object]:
    return json.loads((shown.folder / "explore.json").read_text())


def the_model(archive: Archive, task: str) -> pd.Series:
    """The one of most labels of arm enrich, of the first seed."""
    found = sql(
        archive, f"FROM evaluations WHERE current AND task = '{task}' AND arm = 'enrich' ORDER BY budget DESC, seed"
    )
    return found.iloc[0]


def test_all_that_a_task_may_choose_from_and_its_test_set_in_the_order_of_the_ranking(archive: Archive) -> None:
    shown, model = write_explorable(archive, "view"), the_model(archive, "view")
    ranking = sql(
        archive,
        f"FROM rankings WHERE current AND task = 'view' AND arm = 'enrich' AND seed = {model.seed} ORDER BY position",
    )
    test = sql(archive, f"SELECT DISTINCT frame_id FROM predictions WHERE evaluation_id = '{model.evaluation_id}'")
    facts = facts_of(shown)
    ranked = facts[facts["rank"].notna()]
    assert list(ranked["frame_id"]) == list(ranking["frame_id"])
    assert list(ranked["rank"]) == list(range(1, len(ranking) + 1))
    assert set(facts.loc[facts["rank"].isna(), "frame_id"]) == set(test["frame_id"])
    to_label = sql(archive, "SELECT frame_id FROM worklist WHERE task = 'view' ORDER BY position")
    assert list(facts.dropna(subset="worklist").sort_values("worklist")["frame_id"]) == list(to_label["frame_id"])
    pictures = pd.read_parquet(shown.folder / "dataset" / "frames.parquet")
    assert list(pictures["frame_id"]) == list(facts["frame_id"])
    assert all((shown.folder / "dataset" / image).is_file() for image in pictures["image"])


def test_a_subset_and_its_tag_hold_the_frames_that_were_published(archive: Archive) -> None:
    shown, seed = write_explorable(archive, "view"), the_model(archive, "view").seed
    facts, tags = facts_of(shown), about(shown)["tags"]
    subsets = sql(archive, f"FROM subsets WHERE current AND task = 'view' AND arm = 'enrich' AND seed = {seed}")
    assert len(subsets) > 1
    for subset in subsets.itertuples():
        frames = set(sql(archive, f"FROM subset_frames WHERE subset_id = '{subset.subset_id}'")["frame_id"])
        assert set(facts.loc[facts["subset"] <= subset.budget, "frame_id"]) == frames
        assert set(tags[f"subset: enrich, first {subset.budget:,} (seed {seed})"]) == frames


def test_near_duplicates_hang_together_and_no_other_frame_is_in_a_group(archive: Archive) -> None:
    shown = write_explorable(archive, "view")
    group = facts_of(shown).set_index("frame_id")["near_duplicates"]
    embedding = archive.profile.default_embedding
    pairs = sql(archive, f"FROM near_duplicates WHERE task = 'view' AND embedding = '{embedding}'")
    assert len(pairs)
    assert (group[pairs["frame_id"]].to_numpy() == group[pairs["other_id"]].to_numpy()).all()
    assert set(group.index[group.notna()]) == set(pairs["frame_id"]) | set(pairs["other_id"])
    n_pairs = {
        name: len(set(of["frame_id"]) | set(of["other_id"]))
        for name, of in pairs.groupby(group[pairs["frame_id"]].to_numpy())
    }
    sizes = (
        facts_of(shown).dropna(subset="near_duplicates").groupby("near_duplicates")["group_size"].agg(["first", "size"])
    )
    assert sizes["first"].to_dict() == sizes["size"].to_dict() == n_pairs


def test_vectors_are_those_of_the_frames_row_by_row(archive: Archive) -> None:
    shown = write_explorable(archive, "view")
    wanted = open_home(archive.home).embeddings(list(facts_of(shown)["frame_id"]))
    np.testing.assert_array_equal(np.load(shown.folder / "embeddings.npy"), wanted)


def test_what_a_model_got_wrong_is_what_its_published_scores_say(archive: Archive) -> None:
    model = the_model(archive, "view")
    shown = write_explorable(archive, "view", model.evaluation_id[:8])
    facts = facts_of(shown).dropna(subset="predicted").set_index("frame_id")
    published = sql(archive, f"FROM predictions WHERE evaluation_id = '{model.evaluation_id}'").set_index("frame_id")
    (positive,) = published["class"].unique()
    said_so = published["score"] > 0.5
    assert set(facts.index) == set(published.index)
    assert ((facts["predicted"] == positive) == said_so[facts.index]).all()
    wrong = said_so != published["truth"].astype(bool)
    assert (facts["wrong"].astype(bool) == wrong[facts.index]).all()
    assert set(about(shown)["tags"].get("model: wrong", [])) == set(wrong.index[wrong])


def test_outlines_of_a_model_overlap_its_labels_as_was_published(archive: Archive) -> None:
    shown, model = write_explorable(archive, "chambers"), the_model(archive, "chambers")
    published = sql(archive, f"FROM predictions WHERE evaluation_id = '{model.evaluation_id}'")
    folder = studio.Folder(shown.folder)
    names = {frame: name for name, frame in folder.frames["frame_id"].items()}
    assert len(published)
    for row in published.rename(columns={"class": "structure"}).itertuples():
        code = folder.about["classes"].index(row.structure)
        truth, drawn = folder.mask(names[row.frame_id]) == code, folder.drawn(names[row.frame_id]) == code
        assert (int((truth & drawn).sum()), int((truth | drawn).sum())) == (row.intersection_pixels, row.union_pixels)
    sums = published[published["union_pixels"] > 0]
    by_frame = (sums["intersection_pixels"] / sums["union_pixels"]).astype(float).groupby(sums["frame_id"]).mean()
    assert by_frame.mean() == pytest.approx(model.value)
    jaccard = facts_of(shown).set_index("frame_id")["jaccard"].dropna()
    np.testing.assert_allclose(jaccard[by_frame.index], by_frame)


def test_frames_of_test_patients_without_a_label_are_shown_where_a_label_is_a_glance(
    archive: Archive,
) -> None:
    """Of structures only labelled frames are: hundreds of others would hide them."""
    test_side = sql(archive, "SELECT frame_id FROM frames WHERE split = 'test'")
    pool = {task: set(Catalogue(archive).pool(task).ids) for task in ("view", "chambers")}
    shown = {task: set(facts_of(write_explorable(archive, task))["frame_id"]) - pool[task] for task in pool}
    assert shown["view"] == set(test_side["frame_id"])
    masks = sql(
        archive,
        "SELECT frame_id FROM current_labels JOIN frames USING (frame_id) WHERE task = 'chambers' AND split = 'test'",
    )
    assert shown["chambers"] == set(masks["frame_id"])


def test_a_state_is_written_once_and_another_model_is_another_state(archive: Archive) -> None:
    first = write_explorable(archive, "view")
    written = (first.folder / "explore.json").stat().st_mtime_ns
    assert write_explorable(archive, "view").folder == first.folder
    assert (first.folder / "explore.json").stat().st_mtime_ns == written
    other = sql(archive, "FROM evaluations WHERE current AND task = 'view' AND arm = 'random' ORDER BY budget").iloc[0]
    assert write_explorable(archive, "view", other.evaluation_id).folder != first.folder
    assert sorted(path.name for path in first.folder.parent.iterdir() if path.name.startswith(".")) == []


def test_pictures_of_patients_are_for_their_owner_alone(archive: Archive) -> None:
    shown = write_explorable(archive, "view")
    for folder in (shown.folder, shown.folder.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_before_a_model_was_scored_frames_are_shown_without_predictions(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enrich_assets.running.exploring import dataset

    monkeypatch.setattr(dataset, "model_of", lambda *_: None)
    shown = write_explorable(archive, "view")
    assert about(shown)["model"] is None
    assert "predicted" not in facts_of(shown)
    assert facts_of(shown)["rank"].notna().any()
    assert any("no model was scored yet" in line for line in shown.lines)


def test_an_evaluation_of_another_task_or_of_none_is_named(archive: Archive) -> None:
    for name in (the_model(archive, "chambers").evaluation_id, "0000000"):
        with pytest.raises(UnknownFrames, match="0 evaluations of view begin with"):
            write_explorable(archive, "view", name)


def test_without_the_browser_the_commands_that_install_it_are_said(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENRICH_EXPLORE_PYTHON", str(small / "nowhere" / "python"))
    refused = CliRunner().invoke(main, ["explore", "view"])
    assert refused.exit_code == 1
    assert "make explore" in refused.output
    assert "ENRICH_EXPLORE_PYTHON" in refused.output
    assert not (small / "explore").exists(), "nothing is written for a browser that is not there"


class Outline:
    """An annotation as LightlyStudio gives it back."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.segmentation_details = self
        self.segmentation_mask = studio._outlined(pixels)["segmentation_mask"]


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)), st.integers(1, 4))
def test_a_mask_that_nobody_touched_comes_back_as_it_was(mask: np.ndarray, times: int) -> None:
    large = np.kron(mask, np.ones((times, times), np.uint8))
    outlines = [(Outline(large == code), name) for code, name in ((1, "LV"), (2, "LA")) if (mask == code).any()]
    back = studio._painted(outlines, ["background", "LV", "LA"], large.shape, times)
    if outlines:
        np.testing.assert_array_equal(back, mask)
    else:
        assert back is None


def test_small_pictures_with_outlines_are_shown_enlarged(archive: Archive) -> None:
    folder = studio.Folder(write_explorable(archive, "chambers").folder)
    side = archive.profile.tasks["chambers"].size
    assert folder.times * side >= studio.LEAST_SIDE
    pictures = sorted(folder.pictures().iterdir())
    assert len(pictures) == len(folder.frames)
    assert {Image.open(picture).size for picture in pictures} == {(side * folder.times,) * 2}
    assert studio.Folder(write_explorable(archive, "view").folder).times == 1
