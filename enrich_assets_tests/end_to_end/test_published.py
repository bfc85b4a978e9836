"""What is published counts for freshness, home by home: gone, damaged or shown by another home, it is published again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from enrich_assets.archive import Archive
from enrich_assets.cli import main
from enrich_assets.core.stages import Goal
from enrich_assets.core.step import Check
from enrich_assets.profiles import load_profile
from enrich_assets.report.names import CHECKS, FRAMES, PICTURES
from enrich_assets.running.forecast import make_plan
from enrich_assets.store.receipts import Cell
from enrich_assets_tests.made_home import finished, opened, planner, run, sql

pytestmark = pytest.mark.long

DATABASE, PAGE = "enrich.duckdb", "report.html"


def stale(archive: Archive) -> set[str]:
    """Keys of the assets that have a cell which is not fresh."""
    now = planner(archive)
    steps = [declared for declared in now.graph.steps.values() if not isinstance(declared, Check)]
    return {step.key for step in steps for cell in now.cells(step) if not now.verdict(step, cell.partition).is_fresh}


def removed(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def overwritten(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


Harm = Callable[[Path], None]


@pytest.mark.parametrize("harm", [removed, cut_off, overwritten])
def test_a_database_that_is_gone_or_damaged_is_published_again(small: Path, harm: Harm) -> None:
    """`rm enrich.duckdb; enrich run` said "everything is up to date", and `enrich sql` "`enrich run` publishes it"."""
    archive = opened(small)
    before = sql(archive, "SELECT * FROM evaluations ORDER BY evaluation_id")
    harm(small / DATABASE)
    assert stale(archive) == {"results"}
    assert make_plan(archive).cells >= {Cell("results")}
    assert make_plan(archive).cells <= {Cell("results"), Cell("report")}
    assert finished(archive).runs == 1
    assert sql(archive, "SELECT * FROM evaluations ORDER BY evaluation_id").equals(before)
    assert stale(archive) == set()


@pytest.mark.parametrize("harm", [removed, cut_off, overwritten])
def test_a_report_that_is_gone_or_damaged_is_published_again(small: Path, harm: Harm) -> None:
    archive = opened(small)
    database = (small / DATABASE).stat().st_mtime_ns
    harm(small / PAGE)
    assert stale(archive) == {"report"}
    assert make_plan(archive).cells == {Cell("report")}
    assert finished(archive).runs == 1
    assert "</html>" in (small / PAGE).read_text(encoding="utf-8")
    assert (small / DATABASE).stat().st_mtime_ns == database, "the database was whole and is left alone"
    assert stale(archive) == set()


@pytest.mark.parametrize("page", [PICTURES, FRAMES, CHECKS])
def test_the_pages_beside_the_report_are_published_with_it(small: Path, page: str) -> None:
    archive = opened(small)
    before = (small / page).read_bytes()
    removed(small / page)
    assert stale(archive) == {"report"}
    assert finished(archive).runs == 1
    assert len((small / page).read_bytes()) == len(before)
    assert stale(archive) == set()


def test_both_gone_come_back_by_the_command(small: Path) -> None:
    for name in (DATABASE, PAGE):
        (small / name).unlink()
    cli = CliRunner()
    asked = cli.invoke(main, ["sql", "SELECT 1"])
    assert asked.exit_code == 1
    assert "`enrich run` publishes it" in asked.output
    done = cli.invoke(main, ["run"])
    assert done.exit_code == 0, done.output
    assert "everything is up to date" not in done.output
    assert cli.invoke(main, ["sql", "SELECT count(*) FROM evaluations"]).exit_code == 0
    assert (small / PAGE).is_file()
    assert "everything is up to date" in cli.invoke(main, ["run"]).output


def test_a_file_touched_but_not_changed_is_left_alone(small: Path) -> None:
    """A copy of a home has other times; that is no reason to publish."""
    shutil.copy(small / DATABASE, small / "copy")
    (small / "copy").replace(small / DATABASE)
    archive = opened(small)
    assert stale(archive) == set()
    assert run(archive).runs == 0


def test_a_second_home_on_the_same_store_gets_its_own(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    for name in ("enrich.yaml",):
        shutil.copy(small / name, second / name)
    monkeypatch.setenv("ENRICH_STORE", str(small / "store"))
    monkeypatch.setenv("DAGSTER_HOME", str(second / "dagster"))
    archive = Archive(second, load_profile(str(second / "enrich.yaml")))
    assert stale(archive) == {"results", "report"}
    assert finished(archive).runs == 1
    assert (second / DATABASE).is_file()
    assert all((second / page).is_file() for page in (PAGE, PICTURES, FRAMES, CHECKS))
    assert len(sql(archive, "FROM evaluations")) == len(sql(opened(small), "FROM evaluations")) == 13
    assert stale(archive) == set()
    monkeypatch.setenv("DAGSTER_HOME", str(small / "dagster"))
    assert run(opened(small), Goal()).runs == 0, "the first home shows the same state still"
