"""Which frames are proposed for labelling: unlabelled ones of one side of the split, least alike first, under quotas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.labelling.worklist import COLUMNS
from enrich_assets.method.embeddings.fixed_point import SCALE
from enrich_assets.profiles import load_profile
from enrich_assets.running.labelling import label_next
from enrich_assets.settings import Profile
from enrich_assets.store.annotations import Annotations
from enrich_assets_tests.defs.made_archive import make_cells, verdict

TASK = "chambers"  # few of its frames carry masks, the rest is to be labelled


def opened(home: Path, **changes: object) -> Archive:
    """The archive, with other settings of the task (or `curate_test_set` of the profile)."""
    profile: Profile = load_profile(str(home / "enrich.yaml"))
    whole = {k: v for k, v in changes.items() if k == "curate_test_set"}
    of_task = {k: v for k, v in changes.items() if k not in whole}
    task = profile.tasks[TASK].model_copy(update=of_task)
    return Archive(home, profile.model_copy(update={**whole, "tasks": {**profile.tasks, TASK: task}}))


def next_frames(archive: Archive, task: str, n: int, side: str = "train") -> pd.DataFrame:
    return label_next(archive, task, n, side)[0]


@pytest.fixture(scope="module")
def archive(small_home: Path) -> Archive:
    return opened(small_home)


def test_only_unlabelled_frames_of_train_patients_are_proposed_each_once(archive: Archive) -> None:
    proposed = next_frames(archive, TASK, 25)
    assert list(proposed.columns) == COLUMNS
    assert 0 < len(proposed) <= 25
    assert proposed["frame_id"].is_unique
    assert not set(proposed["frame_id"]) & set(Catalogue(archive).labels().of_task(TASK)["frame_id"])
    sides = Catalogue(archive).frame_table().set_index("frame_id")["split"]
    assert set(sides[proposed["frame_id"]]) == {"train"}


def test_the_first_is_the_least_alike_and_its_nearest_labelled_frame_is_named(archive: Archive) -> None:
    proposed = next_frames(archive, TASK, 5)
    frames = Catalogue(archive).frame_table()
    train = frames[frames["split"] == "train"].reset_index(drop=True)
    labelled = train["frame_id"].isin(set(Catalogue(archive).labels().of_task(TASK)["frame_id"])).to_numpy()
    vectors = Catalogue(archive).vectors().of(train).astype("int64")
    products = vectors @ vectors[labelled].T
    greatest = products.max(axis=1)
    first = greatest[~labelled].min()
    assert proposed["similarity_to_labelled"].iloc[0] == first / SCALE**2
    at = train.index[train["frame_id"] == proposed["frame_id"].iloc[0]][0]
    assert train.loc[labelled, "frame_id"].iloc[int(products[at].argmax())] == proposed["nearest_labelled_id"].iloc[0]


def test_a_longer_worklist_begins_with_the_shorter(archive: Archive) -> None:
    assert list(next_frames(archive, TASK, 12)["frame_id"])[:4] == list(next_frames(archive, TASK, 4)["frame_id"])


def test_quotas_hold_per_patient_and_per_clip(small_home: Path) -> None:
    proposed = next_frames(opened(small_home, quota_per_patient=2, quota_per_clip=1), TASK, 50)
    assert proposed["patient_id"].value_counts().max() <= 2
    assert proposed["clip_id"].is_unique


def test_the_test_worklist_holds_test_patients_only_and_looks_at_no_train_frame(archive: Archive) -> None:
    proposed = next_frames(archive, TASK, 10, side="test")
    assert len(proposed)
    frames = Catalogue(archive).frame_table().set_index("frame_id")
    assert set(frames.loc[proposed["frame_id"], "split"]) == {"test"}
    named = proposed["nearest_labelled_id"].dropna()
    assert set(frames.loc[named, "split"]) <= {"test"}, (
        "how far a test frame is from train labels must not steer the choice"
    )
    assert not set(proposed["patient_id"]) & set(next_frames(archive, TASK, 200)["patient_id"])


def test_the_asset_keeps_both_lists_apart(small: Path) -> None:
    archive = opened(small, curate_test_set=6, worklist=8)
    assert verdict(archive, f"{TASK}/worklist").why == "its settings changed"
    receipt = make_cells(archive, "", f"{TASK}/worklist")
    sides = Catalogue(archive).frame_table().set_index("frame_id")["split"]
    for name, side, most in (("worklist", "train", 8), ("test_worklist", "test", 6)):
        table = archive.store.table(receipt, name)
        assert 0 < len(table) <= most
        assert set(sides[table["frame_id"]]) == {side}


def test_without_the_setting_no_test_frame_is_proposed(small: Path) -> None:
    archive = opened(small)
    receipt = make_cells(archive, "", f"{TASK}/worklist")
    assert archive.store.table(receipt, "test_worklist").empty


def test_labels_bought_leave_the_list_and_push_what_is_like_them_back(small: Path) -> None:
    archive = opened(small)
    before = next_frames(archive, "view", 1000)
    task = archive.profile.tasks["view"]
    assert before.empty, "the phantom is labelled whole"
    frames = Catalogue(archive).frame_table()
    train = frames.loc[frames["split"] == "train", "frame_id"]
    unlabelled = archive.profile.model_copy(update={"tasks": {"view": task.model_copy(update={"label": "nowhere"})}})
    archive = Archive(small, unlabelled)
    make_cells(archive, "first", "label_presence", "labels")
    wanted = next_frames(archive, "view", 1000)
    assert set(wanted["frame_id"]) == set(train)
    first = wanted["frame_id"].iloc[:3]
    bought = pd.DataFrame({"frame_id": first, "label": "NT", "source": "test", "author": "", "recorded_at": "2027"})
    Annotations(archive.store.folder).add("view", bought)
    make_cells(archive, "first", "labels")
    left = next_frames(archive, "view", 1000)
    assert set(left["frame_id"]) == set(train) - set(first)
    assert set(left["nearest_labelled_id"]) == set(first)
