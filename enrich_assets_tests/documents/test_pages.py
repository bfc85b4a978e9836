"""What the pages say is so: settings are today's, recipes run, links lead somewhere."""

from __future__ import annotations

import re

import pytest

from enrich_assets.store.published import query
from enrich_assets_tests.documents.blocks import DOCS, blocks
from enrich_assets_tests.documents.settings_reference import PAGE, page

RECIPES = blocks("sql.md", "sql")


def test_the_settings_page_is_of_todays_model():
    assert PAGE.read_text(encoding="utf-8") == page()


def test_there_are_ten_recipes():
    assert len(RECIPES) == 10


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_runs_and_finds_rows_where_there_are_any(number, small_home):
    found = query(str(small_home / "enrich.duckdb"), RECIPES[number])
    may_be_empty = {1, 3, 5}  # nothing suffices, no frame is missed by all, no leak: as the archive has it
    assert len(found) or number in may_be_empty


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.md")))
def test_no_link_between_pages_is_broken(name):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (DOCS / name).read_text(encoding="utf-8"))
    missing = [link for link in links if not (DOCS / link).exists()]
    assert not missing
