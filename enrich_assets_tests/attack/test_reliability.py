"""RELIABILITY.md says what there is: its tests exist, its attacks exist, and the page is the one that its command draws."""

from __future__ import annotations

import ast

from enrich_assets_tests.attack.__main__ import ATTACKS
from enrich_assets_tests.attack.reliability import FAULTS, PAGE, REPOSITORY, TESTS, last_counts, page


def test_each_test_named_there_exists() -> None:
    for name in {test for row in FAULTS for test in row.tests}:
        path, _, function = name.partition("::")
        tree = ast.parse((REPOSITORY / TESTS / path).read_text(encoding="utf-8"))
        found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert any(one.startswith("test_") for one in found), path
        assert not function or function in found, name


def test_each_attack_stands_there_once_and_each_that_stands_there_exists() -> None:
    assert sorted(row.attack for row in FAULTS if row.attack) == sorted(ATTACKS)


def test_the_page_is_drawn_from_the_counts() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(last_counts())
