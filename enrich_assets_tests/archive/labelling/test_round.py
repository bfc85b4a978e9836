"""A labelling round on the command line, of an archive that came without labels: out to a tool, back, and the next round."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from enrich_assets.archive import Archive
from enrich_assets.archive.ingest import ingest
from enrich_assets.cli import main
from enrich_assets.core.keys import BATCH_ASSETS
from enrich_assets_tests.defs.made_archive import SMALL, bring_up_to_date, make_cells, write_stills

NAMED = "classes: [healthy, covid], positive: covid, ignore: [unsure]"
UNNAMED = "classes: null, positive: null, ignore: [unsure]"


def enrich(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve stills of six patients, no label, decoded and embedded; the classes are for the tests to name."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ENRICH_HOME", str(folder))
    monkeypatch.delenv("ENRICH_PROFILE", raising=False)
    folder.mkdir()
    classes(folder, NAMED)
    rows = [{"patient_id": f"p{n // 2}", "clip_id": f"c{n}", "split": "test" if n < 4 else "train"} for n in range(12)]
    archive = Archive.open()
    ingest(archive, str(write_stills(tmp_path / "in", rows)), "one")
    make_cells(archive, "one", *BATCH_ASSETS)
    bring_up_to_date(archive, "", "pca_weights")
    bring_up_to_date(archive, "one", "embeddings/pca")
    return folder


def classes(home: Path, named: str) -> None:
    (home / "enrich.yaml").write_text(
        f"extends: {SMALL}\nembeddings: {{pca: {{dimensions: 4}}, vae: null}}\ntasks: {{view: {{{named}}}, chambers: null}}\n"
    )


def label(out: Path, names: list[str], *, done: str = "done.csv") -> Path:
    """The first frames of a CSV worklist labelled, and the file as it comes back."""
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    for row, name in zip(rows, names, strict=False):
        row["label"] = name
    with out.with_name(done).open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return out.with_name(done)


def frames_of(out: Path) -> list[str]:
    return [row["frame_id"] for row in csv.DictReader(out.open(encoding="utf-8"))]


def test_frames_just_imported_are_not_handed_out_again_and_unsure_ones_neither(home: Path) -> None:
    first, second = home / "first.csv", home / "second.csv"
    assert enrich("worklist", "view", "--budget", "5", "--out", str(first)).exit_code == 0
    done = label(first, ["healthy", "covid", "unsure"])
    imported = enrich("labels", "import", str(done), "--task", "view")
    assert imported.exit_code == 0, imported.output
    assert "3 labels imported" in imported.output
    assert enrich("worklist", "view", "--budget", "12", "--out", str(second)).exit_code == 0
    assert len(frames_of(second)) == 5, "eight train frames, three of them answered"
    assert not set(frames_of(second)) & set(frames_of(first)[:3])


def test_near_copies_of_what_is_labelled_are_counted(home: Path) -> None:
    first, second = home / "first.csv", home / "second.csv"
    enrich("worklist", "view", "--budget", "2", "--out", str(first))
    enrich("labels", "import", str(label(first, ["healthy", "covid"])), "--task", "view")
    handed_out = enrich("worklist", "view", "--budget", "12", "--out", str(second))
    assert "near-copies" not in handed_out.output
    own = home / "enrich.yaml"
    own.write_text(own.read_text() + "similarity: {near_duplicate: 0.0001}\n")
    least = [float(row["similarity_to_labelled"]) for row in csv.DictReader(second.open(encoding="utf-8"))]
    near = sum(one >= 0.0001 for one in least)
    assert 0 < near < len(least)
    again = enrich("worklist", "view", "--budget", "12", "--out", str(home / "third.csv"))
    assert f"{near} of the {len(least)} are near-copies of labelled frames (cosine 0.0001 or more)" in again.output


def test_a_file_that_is_there_is_replaced_only_on_purpose(home: Path) -> None:
    out = home / "list.csv"
    assert enrich("worklist", "view", "--budget", "2", "--out", str(out)).exit_code == 0
    before = out.read_bytes()
    again = enrich("worklist", "view", "--budget", "3", "--out", str(out))
    assert again.exit_code == 1
    assert "--force" in again.output
    assert out.read_bytes() == before
    assert enrich("worklist", "view", "--budget", "3", "--out", str(out), "--force").exit_code == 0
    assert len(frames_of(out)) == 3


def test_label_studio_gets_classes_and_is_told_how_to_find_the_pictures(home: Path) -> None:
    out = home / "tasks.json"
    written = enrich("worklist", "view", "--budget", "2", "--format", "label-studio", "--out", str(out))
    assert written.exit_code == 0, written.output
    text = out.with_name("tasks_interface.xml").read_text()
    assert text.startswith("<View>"), "its parser refuses a declaration"
    for name in ("healthy", "covid", "unsure"):
        assert f'<Choice value="{name}"' in text
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={home}" in written.output


def test_where_nobody_names_classes_they_are_asked_for(home: Path) -> None:
    classes(home, UNNAMED)
    out = str(home / "tasks.json")
    asked = enrich("worklist", "view", "--budget", "2", "--format", "label-studio", "--out", out)
    assert asked.exit_code == 1
    assert "--classes" in asked.output
    assert not Path(out).exists()
    given = enrich(
        "worklist", "view", "--budget", "2", "--format", "label-studio", "--out", out, "--classes", "ill,well"
    )
    assert given.exit_code == 0, given.output
    interface = (home / "tasks_interface.xml").read_text()
    assert [name for name in ("ill", "well", "unsure") if f'value="{name}"' in interface] == ["ill", "well", "unsure"]
    assert enrich("worklist", "view", "--budget", "2", "--out", str(home / "l.csv")).exit_code == 0, "a CSV lists none"


def test_the_profiles_classes_are_not_overruled(home: Path) -> None:
    out = str(home / "tasks.json")
    refused = enrich(
        "worklist", "view", "--budget", "2", "--format", "label-studio", "--out", out, "--classes", "ill,well"
    )
    assert refused.exit_code == 1
    assert "names the classes of view already: healthy, covid" in refused.output


def test_a_misspelt_class_is_refused_where_the_profile_names_its_classes(home: Path) -> None:
    out = home / "list.csv"
    enrich("worklist", "view", "--budget", "3", "--out", str(out))
    found = enrich("labels", "import", str(label(out, ["healthy", "helthy", "covid"])), "--task", "view")
    assert found.exit_code == 1
    assert "2 labels imported" in found.output
    assert "'helthy' is no class of the task" in found.output
    assert "did you mean healthy?" in found.output


def test_a_misspelt_class_is_named_at_import_where_the_profile_names_none(home: Path) -> None:
    """It is a class of its own then, no test frame is of it, and no model is trained."""
    classes(home, UNNAMED)
    out = home / "list.csv"
    enrich("worklist", "view", "--budget", "8", "--out", str(out))
    first = enrich("labels", "import", str(label(out, ["healthy"] * 5 + ["covid"])), "--task", "view")
    assert first.exit_code == 0, first.output
    assert "never seen before" not in first.output, "of the first labels all classes are new"
    assert "classes of fewer than 5 labels: 'covid' (1)" in first.output
    second = enrich("labels", "import", str(label(out, [""] * 6 + ["helthy"], done="more.csv")), "--task", "view")
    assert second.exit_code == 0, second.output
    assert "classes never seen before: 'helthy' (1, like 'healthy'); there were: " in second.output


def test_labels_of_unknown_frames_end_with_status_1_and_the_others_are_imported(home: Path) -> None:
    out = home / "list.csv"
    enrich("worklist", "view", "--budget", "2", "--out", str(out))
    done = label(out, ["healthy", "covid"])
    done.write_text(done.read_text().replace(frames_of(out)[0], "no/such/0"))
    found = enrich("labels", "import", str(done), "--task", "view")
    assert found.exit_code == 1
    assert "1 labels imported" in found.output
    assert "no frame goes by the name no/such/0" in found.output


def test_what_a_labeller_skipped_is_named_and_is_no_error(home: Path) -> None:
    out = home / "tasks.json"
    enrich("worklist", "view", "--budget", "2", "--format", "label-studio", "--out", str(out))
    tasks = json.loads(out.read_text())
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["covid"]}}
    tasks[0]["annotations"] = [{"result": [choice]}]
    tasks[1]["annotations"] = [{"was_cancelled": True, "result": []}]
    out.write_text(json.dumps(tasks))
    found = enrich("labels", "import", str(out), "--task", "view")
    assert found.exit_code == 0, found.output
    assert "1 labels imported" in found.output
    assert "was skipped by annotator" in found.output


def test_an_empty_home_is_not_called_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("ENRICH_PROFILE", "demo")
    refused = enrich("worklist", "view", "--budget", "2", "--out", str(tmp_path / "l.csv"))
    assert refused.exit_code == 1
    assert "no studies were ingested yet" in refused.output


@pytest.mark.parametrize("form", ["label-studio"])
def test_label_studios_own_parser_takes_interface_and_tasks(home: Path, form: str) -> None:
    interfaces = pytest.importorskip("label_studio_sdk.label_interface")
    out = home / "tasks.json"
    enrich("worklist", "view", "--budget", "2", "--format", form, "--out", str(out))
    interface = interfaces.LabelInterface((home / "tasks_interface.xml").read_text())
    interface.validate()
    assert interface.get_control("label").labels == ["healthy", "covid", "unsure"]
    for task in json.loads(out.read_text()):
        assert interface.validate_task(task)
        choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["covid"]}}
        assert interface.validate_annotation({"result": [choice]})


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"lable": "healthy"}, "takes its labels from the column 'label', which no manifest has (there are: lable"),
        ({"label": "healthy"}, ""),
        ({}, "task view has no labels yet"),
    ],
)
def test_a_label_column_that_no_manifest_has_is_said_at_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    classes(tmp_path / "home", NAMED)
    rows: list[dict[str, object]] = [{"patient_id": p, "clip_id": p, **columns} for p in "ab"]
    shown = enrich("ingest", str(write_stills(tmp_path / "in", rows)))
    assert shown.exit_code == 0, shown.output
    assert said in shown.output
    assert bool(said) == ("labels" in shown.output), shown.output
