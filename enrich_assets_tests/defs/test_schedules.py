"""Schedules: what they ask for follows from receipts; nothing where all is up to date; rankings before the grid."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from enrich_assets.archive import Archive
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import ONLY_STALE, build_definitions
from enrich_assets.defs.instance import know_batches
from enrich_assets.defs.mount import Mount
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.schedules import (
    RETRAINING_TAG,
    cells_after_ranking,
    publication_request,
    retraining_requests,
)
from enrich_assets.defs.sensors import after_rankings
from enrich_assets.profiles import load_profile
from enrich_assets.settings import Profile, ScheduleSettings
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.defs.made_archive import make_cells

SMALL = Path(__file__).parents[1] / "small.yaml"
MOUNT = Mount()


def profile(**schedules: object) -> Profile:
    return load_profile(str(SMALL)).model_copy(update={"schedules": ScheduleSettings(**schedules)})  # type: ignore[arg-type]


def names(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def forget(archive: Archive, *cells: Cell) -> None:
    for cell in cells:
        archive.store.receipts.forget(cell)


def test_the_profile_says_which_schedules_there_are_and_when() -> None:
    def crons(settings: Profile) -> dict[str, str]:
        found = build_definitions(settings).get_repository_def().schedule_defs
        assert all(schedule.default_status == dg.DefaultScheduleStatus.RUNNING for schedule in found)
        return {schedule.name: str(schedule.cron_schedule) for schedule in found}

    assert crons(profile()) == {"recuration": "0 3 * * 1"}
    assert crons(profile(recuration=None)) == {}
    assert crons(profile(recuration="5 4 * * *", retraining="0 1 1 * *")) == {
        "recuration": "5 4 * * *",
        "retraining_view": "0 1 1 * *",
        "retraining_chambers": "0 1 1 * *",
    }


def test_an_empty_archive_asks_for_nothing(tmp_path: Path) -> None:
    archive, graph = Archive(tmp_path, profile()), graph_of(profile())
    assert publication_request(archive, graph, MOUNT) is None
    assert retraining_requests(archive, graph, "view", MOUNT) == []


def test_where_all_is_up_to_date_nothing_is_asked_for(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    assert publication_request(archive, graph, MOUNT) is None
    for task in archive.profile.tasks:
        assert retraining_requests(archive, graph, task, MOUNT) == []


def test_recuration_asks_for_what_is_stale_and_what_follows_from_it_in_one_run(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    forget(archive, Cell("view/worklist"))
    request = publication_request(archive, graph, MOUNT)
    assert request is not None
    assert names(request) == {"view/worklist", "results", "report"}
    assert not request.asset_check_keys
    assert request.tags[ONLY_STALE] == "true"


def test_retraining_ranks_the_stale_seed_then_trains_its_cells_and_no_others(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    forget(archive, Cell("view/enrich/ranking", "1"))
    (request,) = retraining_requests(archive, graph, "view", MOUNT)
    assert (request.partition_key, request.tags[RETRAINING_TAG]) == ("1", "view")
    assert retraining_requests(archive, graph, "chambers", MOUNT) == []
    make_cells(archive, "1", "view/enrich/ranking")
    assert cells_after_ranking(archive, graph, "view", "1", MOUNT) == [], "it came out as it was: nothing is trained"


def test_a_stale_cell_is_trained_though_its_ranking_is_fresh(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    forget(archive, Cell("view/random/model", "20|0"))
    (request,) = retraining_requests(archive, graph, "view", MOUNT)
    assert request.partition_key == "0"
    (cell,) = cells_after_ranking(archive, graph, "view", "0", MOUNT)
    assert cell.partition_key == "20|0"
    assert names(cell) == {"view/random/model", "view/random/evaluation"}
    assert cells_after_ranking(archive, graph, "view", "1", MOUNT) == []


def test_the_cells_follow_the_run_that_ranked_once(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    forget(archive, Cell("view/random/model", "20|0"))
    (request,) = retraining_requests(archive, graph, "view", MOUNT)
    definitions = build_definitions(archive.profile, ArchiveResource.of(archive))
    with dg.DagsterInstance.ephemeral() as instance:
        know_batches(archive, instance)
        before = after_rankings(archive, graph, dg.build_sensor_context(instance=instance), MOUNT)
        assert not before.run_requests
        definitions.resolve_job_def("rank_view").execute_in_process(
            instance=instance, partition_key=request.partition_key, tags=dict(request.tags)
        )
        after = after_rankings(archive, graph, dg.build_sensor_context(instance=instance, cursor=before.cursor), MOUNT)
        assert [r.partition_key for r in after.run_requests or []] == ["20|0"]
        again = after_rankings(archive, graph, dg.build_sensor_context(instance=instance, cursor=after.cursor), MOUNT)
        assert not again.run_requests


def test_a_number_of_steps_never_found_is_asked_for_before_the_cells_that_wait_for_it(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    forget(archive, Cell("view/training_length"), Cell("view/random/model", "20|0"))
    requests = retraining_requests(archive, graph, "view", MOUNT)
    assert {request.partition_key for request in requests} == {"0", "1"}, "though every ranking is fresh"
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {RETRAINING_TAG: "view", "dagster/partition": "0"}
        run = instance.add_run(dg.DagsterRun(job_name="rank_view", tags=tags)).run_id
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", job_name="rank_view"), run_id=run)

        def tick(cursor: str | None) -> dg.SensorResult:
            found = after_rankings(archive, graph, dg.build_sensor_context(instance=instance, cursor=cursor), MOUNT)
            assert isinstance(found, dg.SensorResult)
            return found

        first = tick(None)
        (length,) = first.run_requests or []
        assert (names(length), length.partition_key) == ({"view/training_length"}, None)
        second = tick(first.cursor)
        assert [r.run_key for r in second.run_requests or []] == [length.run_key], "Dagster drops what it has seen"
        make_cells(archive, "", "view/training_length")
        third = tick(second.cursor)
        assert [r.partition_key for r in third.run_requests or []] == ["20|0"]
        assert not tick(third.cursor).run_requests


def test_a_seed_whose_run_ends_after_a_later_one_is_not_forgotten(small: Path) -> None:
    """Runs are ranked side by side: the first to begin may be the last to end."""
    archive = Archive(small, profile())
    graph = graph_of(archive.profile)
    for seed in ("0", "1"):
        archive.store.receipts.forget(Cell("view/enrich/subset", f"20|{seed}"))
    with dg.DagsterInstance.ephemeral() as instance:
        runs = {}
        for seed in ("0", "1"):
            tags = {RETRAINING_TAG: "view", "dagster/partition": seed}
            runs[seed] = instance.add_run(dg.DagsterRun(job_name="rank_view", tags=tags)).run_id
        asked, cursor = [], None
        for seed in ("1", "0"):
            ended = dg.DagsterEvent("PIPELINE_SUCCESS", job_name="rank_view")
            instance.report_dagster_event(ended, run_id=runs[seed])
            result = after_rankings(archive, graph, dg.build_sensor_context(instance=instance, cursor=cursor), MOUNT)
            asked += [request.partition_key for request in result.run_requests or []]
            cursor = result.cursor
    assert asked == ["20|1", "20|0"]


def test_a_budget_beyond_the_pool_is_not_asked_for(small: Path) -> None:
    whole = profile()
    view = whole.tasks["view"].model_copy(update={"budgets": ("10", "20", "100000")})
    greedy = whole.model_copy(update={"tasks": {"view": view}})
    archive, graph = Archive(small, greedy), graph_of(greedy)
    assert cells_after_ranking(archive, graph, "view", "0", MOUNT) == []


def test_a_budget_that_comes_to_as_many_frames_as_another_is_trained_once(small: Path) -> None:
    whole = profile()
    pool = sum(receipt.metrics["frames"] for receipt in Archive(small, whole).store.receipts.history("view/pool"))
    share = f"{100 * 10 / pool:.4f}%"  # ten frames by another name
    view = whole.tasks["view"].model_copy(update={"budgets": ("10", "20", share)})
    twice = whole.model_copy(update={"tasks": {"view": view}})
    archive, graph = Archive(small, twice), graph_of(twice)
    assert cells_after_ranking(archive, graph, "view", "0", MOUNT) == []


def test_a_damaged_receipt_is_one_stale_cell_and_stops_no_schedule(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    for cell in (Cell("view/worklist"), Cell("view/random/model", "20|0"), Cell("view/enrich/ranking", "1")):
        (small / "store" / "receipts" / f"{cell.folder}.json").write_text("{not a receipt")
    publication = publication_request(archive, graph, MOUNT)
    assert publication is not None
    assert "view/worklist" in names(publication)
    assert "chambers/worklist" not in names(publication)
    assert {request.partition_key for request in retraining_requests(archive, graph, "view", MOUNT)} == {"0", "1"}
    assert retraining_requests(archive, graph, "chambers", MOUNT) == []
    (cell,) = cells_after_ranking(archive, graph, "view", "0", MOUNT)
    assert names(cell) == {"view/random/model", "view/random/evaluation"}


def test_the_schedules_as_dagster_evaluates_them_survive_damage(small: Path) -> None:
    asks = profile(retraining="0 1 1 * *")
    archive = Archive(small, asks)
    for cell in (Cell("view/worklist"), Cell("view/pool", "first"), Cell("split@patients_disjoint", "first")):
        (small / "store" / "receipts" / f"{cell.folder}.json").write_bytes(b"")
    definitions = build_definitions(asks, ArchiveResource.of(archive)).get_repository_def()
    for schedule in definitions.schedule_defs:
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance, resources={"archive": ArchiveResource.of(archive)})
            schedule.evaluate_tick(context)


def test_what_is_published_by_schedule_is_made_with_its_checks(small: Path) -> None:
    archive, graph = Archive(small, profile()), graph_of(profile())
    archive.store.receipts.forget(Cell("leaks@labels_agree"))
    request = publication_request(archive, graph, MOUNT)
    assert request is not None
    assert {key.name for key in request.asset_check_keys or []} == {"labels_agree"}
    assert names(request) == {"results", "report"}, "the check and what shows it: nothing of its asset is made again"
    job = build_definitions(archive.profile, ArchiveResource.of(archive)).resolve_job_def("publish")
    alone = job.get_subset(asset_selection=set(), asset_check_selection=set(request.asset_check_keys or []))
    with dg.DagsterInstance.ephemeral() as instance:
        know_batches(archive, instance)
        result = alone.execute_in_process(instance=instance)
    assert [e.check_name for e in result.get_asset_check_evaluations()] == ["labels_agree"]
    assert result.get_asset_materialization_events() == []
