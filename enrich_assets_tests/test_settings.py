"""Profiles: what is allowed, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.settings import BUILT_IN, ProfileError, budget_frames, load_profile


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ProfileError) as error:
        load_profile(written(folder, text))
    return str(error.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_are_whole(name: str) -> None:
    assert load_profile(name).name == name


def test_the_paper_profile_has_the_papers_figures() -> None:
    paper = load_profile("paper")
    view, chambers = paper.tasks["view"], paper.tasks["chambers"]
    assert view.budgets == ("3000", "5000", "10000", "15000", "20000", "25000", "30000", "35000", "40000")
    assert (view.start, len(view.seed_list), view.size) == ("1000", 10, 80)
    assert (view.model_settings.epochs, view.model_settings.batch_size) == (175, 32)
    assert view.model_settings.drops == ((100, 1e-4), (150, 5e-5))
    assert chambers.budgets == ("200", "300", "400", "600", "800", "1000")
    assert (chambers.start, len(chambers.seed_list), chambers.size) == ("200", 3, 272)
    assert (chambers.model_settings.epochs, chambers.model_settings.channels) == (500, (8, 16, 32, 64, 128))
    assert paper.vae.train_frames == 5000


def test_a_profile_takes_over_from_another_key_by_key(tmp_path: Path) -> None:
    mine = load_profile(written(tmp_path, "extends: demo\ntasks: {view: {size: 64}}\n"))
    assert mine.tasks["view"].size == 64
    assert mine.tasks["view"].budgets == load_profile("demo").tasks["view"].budgets


def test_a_task_set_to_null_is_left_out(tmp_path: Path) -> None:
    assert list(load_profile(written(tmp_path, "extends: demo\ntasks: {chambers: null}\n")).tasks) == ["view"]


def test_a_wrong_key_is_refused_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    said = refused(tmp_path, "extends: demo\ntasks:\n  view:\n    budgetz: [1]\n")
    assert "mine.yaml, line 4: tasks.view.budgetz is no setting; allowed here: " in said
    assert "budgets" in said


@pytest.mark.parametrize(
    ("setting", "line", "why"),
    [
        ("tasks: {view: {start: -5}}", "tasks.view.start", "is no budget"),
        ("tasks: {view: {seeds: 0}}", "tasks.view.seeds", "greater than or equal to 1"),
        ("tasks: {view: {training: {epochs: 0}}}", "training.epochs", "greater than or equal to 1"),
        ("tasks: {view: {training: {learning_rate: -1}}}", "training.learning_rate", "greater than 0"),
        ("tasks: {view: {training: {dropout: 1}}}", "training.dropout", "less than 1"),
        ("vae: {max_steps: 0}", "vae.max_steps", "greater than or equal to 1"),
        ("vae: {patience: -1}", "vae.patience", "greater than or equal to 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(tmp_path: Path, setting: str, line: str, why: str) -> None:
    said = refused(tmp_path, f"extends: demo\n{setting}\n")
    assert "mine.yaml, line 2" in said
    assert line in said
    assert why in said


def test_classes_that_are_numbers_need_no_quotes_and_yes_and_no_do(tmp_path: Path) -> None:
    view = load_profile(written(tmp_path, "extends: demo\ntasks: {view: {classes: [0, 1], positive: 1}}\n")).tasks[
        "view"
    ]
    assert (view.classes, view.positive) == (("0", "1"), "1")
    said = refused(tmp_path, "extends: demo\ntasks: {view: {classes: [yes, no]}}\n")
    assert "put the name between quotes" in said


def test_a_wrong_training_key_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    said = refused(tmp_path, "extends: demo\ntasks:\n  view:\n    training: {epoch: 3}\n")
    assert "line 3" in said
    assert "epochs" in said


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("extends: demo\nvae: {beta: much}\n", 2, "vae.beta"),
        ("extends: demo\nsplit: {test_share: 1.5}\n", 2, "split.test_share"),
        ("extends: demo\ntasks:\n  view:\n    positive: A5C\n", 3, "positive 'A5C' is none of the classes"),
        ("extends: demo\ntasks:\n  view:\n    budgets: [many]\n", 4, "'many' is no budget"),
        ("extends: demo\ntasks:\n  view:\n    arms: {all: {}}\n", 4, "another name"),
        ("extends: demo\ntasks:\n  View-1: {kind: classification, budgets: [1]}\n", 2, "letters, digits"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    said = refused(tmp_path, text)
    assert f"line {line}:" in said
    assert part in said


def test_text_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    assert "not readable as YAML" in refused(tmp_path, "tasks: [unclosed\n")


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\n", encoding="utf-8")
    assert "circle" in refused(tmp_path, "extends: other.yaml\n")


@pytest.mark.parametrize(
    ("key", "pool", "frames"), [("120", 1000, 120), ("25%", 1000, 250), ("0.1%", 100, 1), ("all", 7, 7)]
)
def test_a_budget_is_a_number_or_a_share(key: str, pool: int, frames: int) -> None:
    assert budget_frames(key, pool) == frames
