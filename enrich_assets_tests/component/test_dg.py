"""The `dg` command agrees with what is mounted."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest

from enrich_assets.component import EnrichArchive
from enrich_assets_tests.component.mounted import (
    NAMES,
    ONE,
    Project,
)

needs_dg = pytest.mark.skipif(importlib.util.find_spec("dagster_dg_cli") is None, reason="`dg` is not installed")


@needs_dg
def test_dg_checks_and_lists_the_project(project: Project) -> None:
    checked = project.dg("check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout + checked.stderr
    checked = project.dg("check", "yaml", "--validate-requirements")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = project.dg("list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    defs = json.loads(listed.stdout)
    for kind, of_each in (("assets", "{}/studies"), ("jobs", "{}_decode_batch"), ("sensors", "{}_incoming")):
        names = {entry.get("asset_key") or entry["name"] for entry in defs[kind]}
        assert {of_each.format(name) for name in NAMES} <= names


@needs_dg
def test_dg_knows_the_component_and_what_its_attributes_mean(project: Project) -> None:
    listed = project.dg("list", "components", "--json")
    components = [entry["key"] for entry in json.loads(listed.stdout)["items"]]
    assert "enrich_assets.EnrichArchive" in components, (
        f"{components}: install enrich-assets again, its entry points have changed (`make setup`)"
    )
    attributes = EnrichArchive.get_model_cls().model_json_schema()["properties"]
    assert set(attributes) == {"home", "profile", "store", "key_prefix"}
    assert all(attribute["description"] for attribute in attributes.values())


@needs_dg
def test_dg_points_at_a_wrong_attribute(project: Project) -> None:
    shutil.rmtree(project.defs_folder / "two")  # of several of one type, `dg check yaml` looks at one alone
    (project.defs_folder / "one" / "defs.yaml").write_text(ONE.replace("key_prefix:", "prefix:"))
    checked = project.dg("check", "yaml")
    assert checked.returncode != 0
    assert "defs.yaml:5" in checked.stdout
    assert "'prefix' was unexpected" in checked.stdout
