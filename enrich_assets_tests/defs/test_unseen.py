"""What Dagster saw no event of is asked for all the same: the first VAE, once; what imported labels or a failed making leave stale."""

from __future__ import annotations

import json

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.archive.ingest import ingest
from enrich_assets.defs.attempts import MOST_ATTEMPTS
from enrich_assets.defs.first_fit import first_vae_request
from enrich_assets.defs.sensors import unseen_requests
from enrich_assets.method.embeddings.fixed_point import to_fixed_point
from enrich_assets.store.annotations import Annotations
from enrich_assets.store.receipts import Cell, Origin
from enrich_assets_tests.defs.drop_world import MOUNT, World, tick_of


def test_the_first_vae_is_asked_for_once_when_all_that_dropped_in_is_read(world: World) -> None:
    world.drop("a")
    world.drop("b")
    asked = lambda: first_vae_request(world.archive, world.graph, world.instance)  # noqa: E731
    assert isinstance(asked(), dg.SkipReason)
    world.tick()
    world.make("a")
    assert isinstance(asked(), dg.SkipReason), "b is not read yet"
    world.make("b")
    request = asked()
    assert isinstance(request, dg.RunRequest)
    again = asked()
    assert isinstance(again, dg.RunRequest)
    assert request.run_key == again.run_key, "Dagster starts a run key once"
    pretend_vae(world, healthy=False)
    same = asked()
    assert isinstance(same, dg.SkipReason), "one that is not healthy is not tried again with the same frames"
    assert "waiting for more frames" in str(same.skip_message)
    world.drop("c")
    world.tick()
    world.make("c")
    more = asked()
    assert isinstance(more, dg.RunRequest), "but it is with more"
    assert more.run_key != request.run_key
    pretend_vae(world, healthy=True)
    assert isinstance(asked(), dg.SkipReason)


def test_a_first_vae_whose_run_failed_is_asked_for_again_up_to_the_limit(world: World) -> None:
    world.drop("a")
    world.tick()
    world.make("a")
    keys = set()
    for _ in range(MOST_ATTEMPTS):
        request = first_vae_request(world.archive, world.graph, world.instance)
        assert isinstance(request, dg.RunRequest)
        keys.add(request.run_key)
        world.instance.add_run(
            dg.DagsterRun(job_name="train_vae", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)
        )
    assert len(keys) == MOST_ATTEMPTS
    skipped = first_vae_request(world.archive, world.graph, world.instance)
    assert isinstance(skipped, dg.SkipReason)
    assert f"failed in {MOST_ATTEMPTS} runs" in str(skipped.skip_message)


def pretend_vae(world: World, *, healthy: bool) -> None:
    """A VAE trained on all there is, and the outcome of its check."""
    receipts = world.archive.store.receipts
    cells = [Cell(asset, batch) for asset in ("frames", "split") for batch in world.archive.batches]
    draft = world.archive.store.draft(Cell("vae_weights"), settings="s", inputs={})
    draft.read_from = {str(c): Origin(r.digest, r.name) for c in cells if (r := receipts.current(c)) is not None}
    vae = draft.commit()
    check = world.archive.store.draft(Cell("vae_weights@health"), settings="s", inputs={})
    check.read_from = {"vae_weights": Origin(vae.digest, vae.name)}
    check.commit(passed=healthy, description="as the test says", blocking=True)


def test_what_was_ingested_by_hand_trains_nothing_by_itself(world: World) -> None:
    ingest(world.archive, str(world.drop("a")), "by-hand")
    world.make("by-hand")
    assert isinstance(first_vae_request(world.archive, world.graph, world.instance), dg.SkipReason)


def unseen(world: World, before: list[str] | None = None) -> tuple[list[dg.RunRequest], list[str]]:
    return unseen_requests(world.archive, world.graph, world.instance, MOUNT, before or [])


def make_two_pools(world: World) -> None:
    """Drops `a` and `b`, read, and the pools of both."""
    for name in ("a", "b"):
        world.drop(name)
    world.tick()
    for name in ("a", "b"):
        world.make(name)
    for name in ("a", "b"):
        world.make(name, "view/pool")


def test_imported_labels_are_followed_though_dagster_saw_no_event(world: World) -> None:
    make_two_pools(world)
    assert unseen(world) == ([], [])
    frame = Catalogue(world.archive).frame_table(["a"])["frame_id"].iloc[0]
    label = {
        "frame_id": [frame],
        "label": ["A4C"],
        "source": ["import"],
        "author": ["me"],
        "recorded_at": ["2026-01-01"],
    }
    Annotations(world.archive.store.folder).add("view", pd.DataFrame(label))
    at_once, stale = unseen(world)
    assert at_once == [], "automation, whose edges see most changes, goes first"
    (request,), _ = unseen(world, stale)
    assert request.partition_key == "a"
    assert {k.to_user_string() for k in request.asset_selection or []} == {"label_presence", "labels"}
    world.make("a", "label_presence", "labels")
    assert unseen(world, stale) == ([], [])


def test_what_is_stale_unseen_is_asked_for_up_to_the_limit_and_again_once_its_inputs_change(world: World) -> None:
    world.instance = dg.DagsterInstance.local_temp(str(world.home))
    world.drop("a")
    world.tick()
    world.make("a")
    _, stale = unseen(world)
    for _ in range(MOST_ATTEMPTS):
        (request,), stale = unseen(world, stale)
        world.instance.add_run(
            dg.DagsterRun(job_name="measure", tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)
        )
    assert unseen(world, stale) == ([], stale)
    data = tick_of(world, "unseen_changes", cursor=json.dumps(stale))
    assert f"failed in {MOST_ATTEMPTS} runs, look at their logs: {stale[0]}" in str(data.skip_message)
    world.drop("a", "one", "two", seed=1)
    world.tick()
    world.make("a")
    _, changed = unseen(world, stale)
    assert changed != stale
    requests, _ = unseen(world, changed)
    assert [r.partition_key for r in requests] == ["a"]


def test_a_panel_whose_first_making_failed_is_asked_for_when_it_is_still_missing_at_the_next_look(
    world: World,
) -> None:
    """It reads every earlier batch, of which no edge of the graph tells."""
    receipts = world.archive.store.receipts
    make_two_pools(world)
    pretend_embeddings(world, "b")
    with pytest.raises(LookupError, match=r"embeddings/vae\[a\] has not been made yet"):
        world.make("b", "view/similarity/vae")
    assert unseen(world) == ([], []), "not before the earlier batch is embedded"
    pretend_embeddings(world, "a")
    for name in ("a", "b"):
        world.make(name, "embeddings/vae@tells_frames_apart")
    first, missing = unseen(world)
    assert first == []
    assert [what.rpartition("-")[0] for what in missing] == ["stale-a", "stale-b"]
    world.make("a", "archive/similarity/vae", "archive/similarity/vae@archive_panel_is_whole", "view/similarity/vae")
    assert receipts.current(Cell("view/similarity/vae", "a")) is not None
    (request,), still = unseen(world, missing)
    assert request.partition_key == "b"
    assert {k.to_user_string() for k in request.asset_selection or []} == {
        "archive/similarity/vae",
        "view/similarity/vae",
    }
    assert {key.name for key in request.asset_check_keys or []} == {"archive_panel_is_whole", "panel_is_whole"}
    assert [what.rpartition("-")[0] for what in still] == ["stale-b"]


def pretend_embeddings(world: World, batch: str) -> None:
    """Embeddings of a batch without a VAE, and their checks."""
    ids = Catalogue(world.archive).frames([batch]).frame_table[["frame_id"]]
    vectors = to_fixed_point(np.random.default_rng(ord(batch[0])).normal(size=(len(ids), 128)))
    draft = world.archive.store.draft(Cell("embeddings/vae", batch), settings="s", inputs={})
    draft.array("vectors", vectors)
    draft.table("frames", ids)
    draft.commit()
    world.make(batch, "embeddings/vae@unit_length")
