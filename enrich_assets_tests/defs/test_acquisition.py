"""Arms that see labels, from profile to ranking: what they read, what they may see of it, what they cost; and that no other arm does."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from enrich_assets.archive import Archive
from enrich_assets.archive.catalogue import Catalogue
from enrich_assets.core.graph import Graph
from enrich_assets.core.reads import Over
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.build import build_definitions
from enrich_assets.method.ranking.rules import rule_named
from enrich_assets.profiles import ProfileError, load_profile
from enrich_assets.running.forecast import make_plan
from enrich_assets.store.lineage import Lineage
from enrich_assets.store.receipts import Cell, Receipt
from enrich_assets_tests.defs.made_archive import extended, is_fresh, make_cells, tamper, verdict

AWARE = """
tasks:
  view:
    growth: restart
    arms:
      enrich: {}
      random: {rule: random}
      typical: {rule: typiclust}
      fair: {rule: maxherding, quota_per_patient: 2}
      uncertain: {rule: margin}
      badge: {rule: badge}
      core: {rule: coreset-features}
  chambers:
    arms:
      enrich: {}
      uncertain: {rule: margin}
"""
BLIND = ("view/enrich", "view/random", "view/typical", "view/fair", "view/all", "chambers/enrich", "chambers/all")
SEEING = ("view/uncertain", "view/badge", "view/core", "chambers/uncertain")


def aware(home: Path) -> Archive:
    return extended(home, home / "enrich.yaml", AWARE)


def order_of(archive: Archive, receipt: Receipt) -> list[str]:
    return list(archive.store.table(receipt, "ranking")["frame_id"])


@pytest.fixture(scope="module")
def graph(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    home = tmp_path_factory.mktemp("aware")
    return graph_of(extended(home, small_home / "enrich.yaml", AWARE).profile)


# ----------------------------------------------------------------------------------------------------- what is declared


def test_only_rankings_of_arms_that_see_labels_are_made_from_labels(graph: Graph) -> None:
    def ancestors(key: str) -> set[str]:
        above = graph.upstream(graph.steps[key])
        return above.union(*(ancestors(other) for other in above))

    for arm in BLIND:
        assert "labels" not in ancestors(f"{arm}/subset"), arm
    for arm in SEEING:
        assert "labels" in graph.upstream(graph.steps[f"{arm}/ranking"]), arm
        assert not {a for a in ancestors(f"{arm}/subset") if a.endswith(("/model", "/evaluation", "/test_set"))}, arm
    assert {key.removesuffix("/ranking") for key in graph.steps if key.endswith("/ranking")} == {*BLIND, *SEEING}


def test_one_declaration_says_that_labels_are_read_and_its_rule_that_it_sees_them(graph: Graph) -> None:
    """So neither can be said without the other: a rule that sees labels has the other declaration, by its own word."""
    for key, step in graph.steps.items():
        if key.endswith("/ranking"):
            reads_labels = any(read.asset == "labels" for read in step.reads.values() if read.over is not Over.SOURCE)
            assert reads_labels == rule_named(step.where.arm_settings.rule).sees_labels, key
            assert ("It sees labels" in step.description) == reads_labels


def test_dagster_takes_both_kinds_of_rankings(graph: Graph) -> None:
    assets = build_definitions(graph.profile).resolve_asset_graph()
    parents = {key: assets.get(dg.AssetKey([*key.split("/"), "ranking"])).parent_keys for key in (*BLIND, *SEEING)}
    assert {key for key, of_key in parents.items() if dg.AssetKey("labels") in of_key} == set(SEEING)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "tasks: {chambers: {arms: {b: {rule: badge}}}}",
            "badge needs features .* rules that see labels and fit: margin",
        ),
        ("tasks: {view: {arms: {b: {rule: margin, quota_per_patient: 2}}}}", "sees labels and keeps no quota"),
        ("tasks: {view: {arms: {b: {rule: typiclust, similarity: ssim}}}}", "needs vectors"),
        ("tasks: {view: {arms: {b: {rule: typiclst}}}}", "did you mean typiclust"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused_in_plain_words(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"extends: demo\n{text}\n")
    with pytest.raises(ProfileError, match=why):
        load_profile(str(path))


# ------------------------------------------------------------------------------------------------------ what is made


def test_every_arm_orders_the_whole_pool_from_the_common_start(small: Path) -> None:
    archive = aware(small)
    orders = {arm: order_of(archive, make_cells(archive, "0", f"{arm}/ranking")) for arm in (*BLIND, *SEEING)}
    for arm, order in orders.items():
        task = arm.partition("/")[0]
        n = 6 if task == "view" else 2
        assert sorted(order) == sorted(Catalogue(archive).pool(task).ids), arm
        assert order[:n] == orders[f"{task}/all"][:n], arm
    of_view = [tuple(order) for arm, order in orders.items() if arm.startswith("view")]
    assert len(set(of_view)) == len(of_view) - 1, "all differ, but `random` and `all`"


def test_a_label_of_a_frame_not_chosen_changes_nothing_of_what_is_chosen(small: Path) -> None:
    """Budgets are 10 and 20 of the pool: labels of the first 10 are seen, and no other."""
    archive = aware(small)
    key = "view/badge/ranking"
    receipt = make_cells(archive, "0", key)
    before = order_of(archive, receipt)
    assert receipt.metrics["sees_labels"]
    assert receipt.metrics["trained_on"] == [6, 10]
    assert receipt.metrics["labels_seen"] == 10
    labels = archive.store.table(archive.store.receipts.require(Cell("labels", "first")), "view")
    turned = labels["label"].map({"NT": "A4C", "A4C": "NT"})
    assert turned.notna().all()
    tamper(
        archive,
        Cell("labels", "first"),
        view=labels.assign(label=labels["label"].where(labels["frame_id"].isin(before[:10]), turned)),
    )
    assert "labels" in verdict(archive, key, "0").why
    again = make_cells(archive, "0", key)
    assert order_of(archive, again) == before
    assert again.name != receipt.name
    tamper(archive, Cell("labels", "first"), view=labels.assign(label=turned))
    assert order_of(archive, make_cells(archive, "0", key)) != before, "those of chosen frames are seen"
    for arm in ("view/typical", "view/all"):
        make_cells(archive, "0", f"{arm}/ranking")
        tamper(archive, Cell("labels", "first"), view=labels)
        assert is_fresh(archive, f"{arm}/ranking", "0"), "a label makes no label-blind ranking stale"


def test_lineage_names_the_labels_behind_a_ranking_that_saw_them_and_no_model(small: Path) -> None:
    archive = aware(small)
    chain = Lineage(archive.store, archive.store.folder.digest)
    for arm in SEEING:
        assets = {cell.asset for cell, _, _ in chain.chain(make_cells(archive, "0", f"{arm}/ranking"))}
        assert "labels" in assets
        assert not {a for a in assets if a.endswith(("/model", "/evaluation", "/test_set"))}
    for arm in ("view/typical", "view/fair"):
        assert "labels" not in {cell.asset for cell, _, _ in chain.chain(make_cells(archive, "0", f"{arm}/ranking"))}


def test_labels_bought_are_kept_and_nothing_is_trained_to_choose_them_again(small: Path) -> None:
    archive = extended(small, small / "enrich.yaml", AWARE.replace("restart", "extend"))
    key = "view/uncertain/ranking"
    first = make_cells(archive, "0", key)
    bought = order_of(archive, first)[:20]
    labels = archive.store.table(archive.store.receipts.require(Cell("labels", "first")), "view")
    tamper(archive, Cell("labels", "first"), view=labels.assign(label=labels["label"].map({"NT": "A4C", "A4C": "NT"})))
    again = make_cells(archive, "0", key)
    assert order_of(archive, again)[:20] == bought
    assert again.metrics["trained_on"] == []
    assert again.metrics["labels_seen"] == 0


def test_the_plan_names_the_trainings_by_which_arms_choose(small: Path) -> None:
    plan = make_plan(aware(small))
    [ranking] = [stage for stage in plan.stages if stage.name == "view: ranking"]
    assert "; 12 trainings by which arms that see labels choose" in ranking.note, "3 arms, 2 seeds, on 6 and 10 labels"
    [masks] = [stage for stage in plan.stages if stage.name == "chambers: ranking"]
    assert "; 1 trainings" in masks.note
