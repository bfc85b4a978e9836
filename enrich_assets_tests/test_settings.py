"""Profiles: what is allowed, what is refused and how it is message."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from enrich_assets.profiles import BUILT_IN, ProfileError, RenamedSetting, load_profile
from enrich_assets.profiles.renamed import RENAMED
from enrich_assets.settings import TaskSettings, budget_frames


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
    assert (view.initial_frames, len(view.seed_list), view.size) == ("1000", 10, 80)
    assert (view.model_settings.epochs, view.model_settings.batch_size) == (175, 32)
    assert view.model_settings.lr_milestones == ((100, 1e-4), (150, 5e-5))
    assert chambers.budgets == ("200", "300", "400", "600", "800", "1000")
    assert (chambers.initial_frames, len(chambers.seed_list), chambers.size) == ("200", 3, 272)
    assert (chambers.model_settings.epochs, chambers.model_settings.channels) == (500, (8, 16, 32, 64, 128))
    assert paper.vae.train_frames == 5000


def test_a_profile_takes_over_from_another_key_by_key(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, "extends: demo\ntasks: {view: {size: 64}}\n"))
    assert profile.tasks["view"].size == 64
    assert profile.tasks["view"].budgets == load_profile("demo").tasks["view"].budgets


def test_a_task_set_to_null_is_left_out(tmp_path: Path) -> None:
    assert list(load_profile(written(tmp_path, "extends: demo\ntasks: {chambers: null}\n")).tasks) == ["view"]


def test_a_wrong_key_is_refused_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    message = refused(tmp_path, "extends: demo\ntasks:\n  view:\n    budgetz: [1]\n")
    assert "mine.yaml, line 4: tasks.view.budgetz is no setting; allowed here: " in message
    assert message.endswith("; did you mean budgets?")


@pytest.mark.parametrize(
    ("setting", "line", "why"),
    [
        ("tasks: {view: {initial_frames: -5}}", "tasks.view.initial_frames", "is no budget"),
        ("tasks: {view: {seeds: 0}}", "tasks.view.seeds", "must be at least 1"),
        ("tasks: {view: {training: {epochs: 0}}}", "training.epochs", "must be at least 1"),
        ("tasks: {view: {training: {learning_rate: -1}}}", "training.learning_rate", "must be more than 0"),
        ("tasks: {view: {training: {dropout: 1}}}", "training.dropout", "must be less than 1"),
        ("vae: {max_steps: 0}", "vae.max_steps", "must be at least 1"),
        ("vae: {patience: -1}", "vae.patience", "must be at least 1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(tmp_path: Path, setting: str, line: str, why: str) -> None:
    message = refused(tmp_path, f"extends: demo\n{setting}\n")
    assert "mine.yaml, line 2" in message
    assert line in message
    assert why in message


def test_classes_that_are_numbers_need_no_quotes_and_yes_and_no_do(tmp_path: Path) -> None:
    view = load_profile(written(tmp_path, "extends: demo\ntasks: {view: {classes: [0, 1], positive: 1}}\n")).tasks[
        "view"
    ]
    assert (view.classes, view.positive) == (("0", "1"), "1")
    message = refused(tmp_path, "extends: demo\ntasks: {view: {classes: [yes, no]}}\n")
    assert "put the name between quotes" in message


def test_a_wrong_training_key_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    message = refused(tmp_path, "extends: demo\ntasks:\n  view:\n    training: {epoch: 3}\n")
    assert "line 3" in message
    assert "'widths'" in message
    assert "did you mean epochs?" in message


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("extends: demo\nvae: {beta: much}\n", 2, "vae.beta"),
        ("extends: demo\nsplit: {test_share: 1.5}\n", 2, "split.test_share"),
        ("extends: demo\ntasks:\n  view:\n    positive: A5C\n", 3, "positive 'A5C' is none of the classes"),
        ("extends: demo\ntasks:\n  view:\n    budgets: [many]\n", 4, "'many' is no budget"),
        ("extends: demo\ntasks:\n  view:\n    arms: {all: {}}\n", 4, "another name"),
        ("extends: demo\ntasks:\n  View-1: {kind: classification, budgets: [1]}\n", 2, "letters, digits"),
        ("extends: demo\ntasks:\n  a__b: {kind: classification, budgets: [1]}\n", 2, "no two underscores in a row"),
        ("extends: demo\ntasks:\n  a_: {kind: classification, budgets: [1]}\n", 2, "none at the end"),
        ("extends: demo\ntasks:\n  view:\n    arms: {a__b: {}}\n", 4, "no two underscores in a row"),
        ("extends: demo\ntasks:\n  view:\n    kind: clasification\n", 4, "did you mean classification?"),
        (
            "extends: demo\ntasks:\n  view:\n    arms: {by_mean: {rule: average}}\n",
            4,
            "facility-location, k-center-greedy, k-medoids, margin, maxherding, mean",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, text: str, line: int, part: str) -> None:
    message = refused(tmp_path, text)
    assert f"line {line}:" in message
    assert part in message


@pytest.mark.parametrize(
    ("setting", "place", "words"),
    [
        ("vae: {max_steps: many}", "vae.max_steps", "must be a whole number (is: 'many')"),
        ("vae: {max_steps: 1.5}", "vae.max_steps", "must be a whole number"),
        ("vae: {beta: much}", "vae.beta", "must be a number"),
        ("vae: 3", "vae", "must be a mapping of settings"),
        ("tasks: {view: {class_aware: perhaps}}", "tasks.view.class_aware", "must be true or false"),
        ("tasks: {view: {growth: exted}}", "tasks.view.growth", "must be one of extend, restart; did you mean extend?"),
        ("tasks: {view: {seeds: few}}", "tasks.view.seeds", "must be a whole number"),
        ("tasks: {view: {budgets: []}}", "tasks.view.budgets", "must have at least 1 entry"),
        ("tasks: {view: {training: {epochs: few}}}", "training.epochs", "must be a whole number"),
        ("split: {test_share: 1.5}", "split.test_share", "must be"),
        ("frames: {crop: [1, 2]}", "frames.crop", ""),
    ],
)
def test_a_wrong_value_is_refused_in_words_of_the_profile(tmp_path: Path, setting: str, place: str, words: str) -> None:
    message = refused(tmp_path, f"extends: demo\n{setting}\n")
    assert place in message
    assert words in message
    for leak in ("Input should", "Field required", "pydantic", "constrained", "instance of", "tuple["):
        assert leak not in message, message


def test_text_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    assert "not readable as YAML" in refused(tmp_path, "tasks: [unclosed\n")


def test_a_mapping_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert "holds itself" in refused(tmp_path, "tasks: &tasks {view: *tasks}\n")


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\n", encoding="utf-8")
    assert "circle" in refused(tmp_path, "extends: other.yaml\n")


@pytest.mark.parametrize(
    ("key", "pool", "frames"), [("120", 1000, 120), ("25%", 1000, 250), ("0.1%", 100, 1), ("all", 7, 7)]
)
def test_a_budget_is_a_number_or_a_share(key: str, pool: int, frames: int) -> None:
    assert budget_frames(key, pool) == frames


def test_the_initial_frames_are_never_more_than_the_pool() -> None:
    task = TaskSettings(kind="classification", budgets=("10",), initial_frames="50")
    assert (task.initial_frame_count(200), task.initial_frame_count(20)) == (50, 20)


@pytest.mark.parametrize("name", ["max", "k-center-greedy"])
def test_max_is_another_name_of_greedy_k_centre(tmp_path: Path, name: str) -> None:
    text = f"extends: demo\ntasks: {{view: {{arms: {{enrich: {{rule: {name}}}}}}}}}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = load_profile(written(tmp_path, text))
    assert profile.tasks["view"].arms["enrich"].rule == "k-center-greedy"


# ------------------------------------------------------------------------------------------------------ what null takes out


def arms(folder: Path, text: str) -> list[str]:
    return list(load_profile(written(folder, text)).tasks["view"].arms)


VIEW = "tasks: {view: {kind: classification, budgets: [10], arms: {%s}}}\n"


@pytest.mark.parametrize(
    ("named", "left"),
    [
        ("random: null", ["enrich"]),
        ("enrich: null", ["random"]),
        ("random: null, by_mean: {rule: mean}", ["enrich", "by_mean"]),
        ("by_mean: {rule: mean}", ["by_mean"]),
        ("enrich: {}, by_mean: {rule: mean}", ["enrich", "by_mean"]),
    ],
)
@pytest.mark.parametrize("extends", ["", "extends: demo\n"])
def test_named_arms_replace_the_default_ones_unless_one_is_null(
    tmp_path: Path, extends: str, named: str, left: list[str]
) -> None:
    assert arms(tmp_path, extends + VIEW % named) == left


def test_a_default_arm_that_is_changed_beside_a_null_keeps_the_rest_of_its_settings(tmp_path: Path) -> None:
    text = VIEW % "enrich: null, random: {similarity: pixels}"
    arm = load_profile(written(tmp_path, text)).tasks["view"].arms["random"]
    assert (arm.rule, arm.similarity) == ("random", "pixels")


def test_null_takes_out_an_arm_that_the_extended_profile_names(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(VIEW % "enrich: {}, by_mean: {rule: mean}", encoding="utf-8")
    assert arms(tmp_path, "extends: other.yaml\ntasks: {view: {arms: {by_mean: null}}}\n") == ["enrich"]
    assert arms(tmp_path, "extends: other.yaml\ntasks: {view: {arms: {enrich: null}}}\n") == ["by_mean"]


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (
            "extends: demo\ntasks:\n  view:\n    arms:\n      randon: null\n",
            5,
            "no arm 'randon' for null to take out; arms: enrich, random; did you mean random?",
        ),
        ("extends: demo\ntasks:\n  masks: null\n", 3, "no task 'masks' for null to take out; tasks: view, chambers"),
        ("tasks: {view: null}\n", 1, "no task 'view' for null to take out; tasks: none"),
    ],
)
def test_null_for_what_is_not_there_is_refused(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    assert f"mine.yaml, line {line}: " in (message := refused(tmp_path, text))
    assert message.endswith(sentence)


# ---------------------------------------------------------------------------------------------------------------- old names

OLD_NAMES = """extends: demo
frames: {every: 3, share: 0.7}
incoming: {quiet_seconds: 5, gather: 4, every_seconds: 9}
tasks:
  view:
    share: 0.6
    start: 7
    training:
      drops: [[0.5, 0.1]]
"""
PRESENT_NAMES = """extends: demo
frames: {frame_stride: 3, crop_fraction: 0.7}
incoming: {settle_seconds: 5, drops_per_batch: 4, interval_seconds: 9}
tasks: {view: {crop_fraction: 0.6, initial_frames: 7, training: {lr_milestones: [[0.5, 0.1]]}}}
"""


def test_settings_under_their_old_names_mean_the_same_and_say_the_new_name(tmp_path: Path) -> None:
    with pytest.warns(RenamedSetting) as caught:
        old = load_profile(written(tmp_path, OLD_NAMES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_profile(written(tmp_path, PRESENT_NAMES)) == old
    messages = [str(warning.message) for warning in caught]
    assert [message.split("mine.yaml, ")[1].split(";")[0] for message in messages] == [
        "line 2: frames.every is now called frames.frame_stride",
        "line 2: frames.share is now called frames.crop_fraction",
        "line 3: incoming.quiet_seconds is now called incoming.settle_seconds",
        "line 3: incoming.gather is now called incoming.drops_per_batch",
        "line 3: incoming.every_seconds is now called incoming.interval_seconds",
        "line 6: tasks.view.share is now called tasks.view.crop_fraction",
        "line 7: tasks.view.start is now called tasks.view.initial_frames",
        "line 9: tasks.view.training.drops is now called tasks.view.training.lr_milestones",
    ]
    assert len(messages) == len(RENAMED)
    assert all("\n" not in message for message in messages)


def test_an_old_name_overrides_the_new_one_of_the_extended_profile(tmp_path: Path) -> None:
    with pytest.warns(RenamedSetting):
        profile = load_profile(written(tmp_path, "extends: demo\ntasks: {view: {start: 9}}\n"))
    assert profile.tasks["view"].initial_frames == "9"


def test_old_names_are_known_where_yaml_merges_a_mapping_in(tmp_path: Path) -> None:
    text = "tasks:\n  view: &view {kind: classification, budgets: [10], start: 8}\n  again: {<<: *view, label: other}\n"
    with pytest.warns(RenamedSetting) as caught:
        profile = load_profile(written(tmp_path, text))
    assert [task.initial_frames for task in profile.tasks.values()] == ["8", "8"]
    assert len(caught) == 1


def test_a_wrong_value_under_an_old_name_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.warns(RenamedSetting):
        message = refused(tmp_path, "extends: demo\ntasks:\n  view:\n    start: -5\n")
    assert "line 4: tasks.view.initial_frames: " in message


def test_a_setting_under_both_names_is_refused_with_both(tmp_path: Path) -> None:
    message = refused(tmp_path, "extends: demo\nframes:\n  crop_fraction: 0.7\n  share: 0.7\n")
    assert "mine.yaml, line 4: frames.share is the old name of frames.crop_fraction, which line 3 gives" in message


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_profiles_use_present_names(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_profile(name)


SEARCHES = "extends: archive\ntasks: {masks: null, view: {training: {%s}}}\n"


@pytest.mark.parametrize("name", ["archive", "demo"])
def test_any_archive_and_the_demo_leave_the_length_of_training_to_the_data(name: str) -> None:
    assert all(task.searches_length for task in load_profile(name).tasks.values())
    assert not any(task.searches_length for task in load_profile("paper").tasks.values())


@pytest.mark.parametrize("named", ["epochs: 175", "steps: 900", "search: null"])
def test_a_length_named_in_a_profile_switches_the_search_off(tmp_path: Path, named: str) -> None:
    task = load_profile(written(tmp_path, SEARCHES % named)).tasks["view"]
    assert not task.searches_length
    assert (task.model_settings.epochs, task.model_settings.steps) == (175, 900 if "steps" in named else None)
    assert task.model_settings.lr_milestones[0][0] < 1


def test_a_search_is_taken_up_again_over_a_profile_that_names_epochs(tmp_path: Path) -> None:
    fixed = written(tmp_path, SEARCHES % "epochs: 9")
    over = tmp_path / "over.yaml"
    over.write_text(f"extends: {fixed}\ntasks: {{view: {{training: {{epochs: null}}}}}}\n", encoding="utf-8")
    assert load_profile(str(over)).tasks["view"].searches_length


def test_two_lengths_or_epochs_without_their_number_are_refused(tmp_path: Path) -> None:
    assert "epochs or steps, not both" in refused(tmp_path, SEARCHES % "epochs: 9, steps: 90")
    assert "without `epochs`, as shares of the training" in refused(tmp_path, SEARCHES % "lr_milestones: [[6, 0.1]]")
    assert "max_steps" in refused(tmp_path, SEARCHES % "search: {max_steps: 0}")
    assert "max_stepz" in refused(tmp_path, SEARCHES % "search: {max_stepz: 9}")
