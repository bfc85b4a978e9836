"""The `enrich` command as a whole: its help tells a story, errors are sentences, and `--debug` says where they arose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from enrich_assets.cli import main
from enrich_assets.commands import COMMANDS, STORY
from enrich_assets.commands.opening import first_paragraph


def test_the_help_lists_every_command_once_and_no_sentence_is_cut_off() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    words = " ".join(shown.split())
    assert [name for name in STORY if f"{name}:" in shown] == list(STORY)
    assert sorted(main.commands) == sorted(str(command.name) for command in COMMANDS)
    assert len(set(main.commands)) == len(COMMANDS)
    for command in COMMANDS:
        assert first_paragraph(command) in words, command.name
        assert first_paragraph(command).endswith("."), command.name
    assert "..." not in shown.replace("[ARGS]...", "").replace("(F...)", "")
    assert "Exit status: 0 done" in words


def test_what_a_user_can_mend_is_a_sentence_and_with_debug_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path))
    plain = CliRunner().invoke(main, ["sql", "SELECT 1"])
    assert plain.exit_code == 1
    assert plain.output.startswith("enrich: ")
    assert "Traceback" not in plain.output
    traced = CliRunner().invoke(main, ["--debug", "sql", "SELECT 1"])
    assert traced.exit_code == 1
    assert "Traceback" in traced.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_enrich_itself(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).output
    assert f"_ENRICH_COMPLETE={shell}_complete" in script


def test_tasks_complete_from_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path))
    monkeypatch.setenv("ENRICH_PROFILE", "demo")
    completing = {"_ENRICH_COMPLETE": "bash_complete", "COMP_WORDS": "enrich worklist v", "COMP_CWORD": "2"}
    found = CliRunner().invoke(main, [], env=completing, prog_name="enrich", complete_var="_ENRICH_COMPLETE")
    assert found.output.split() == ["plain,view"]


def test_the_doctor_names_no_patient_file_or_label(small: Path) -> None:
    from enrich_assets.store.published import query

    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 0, shown.output
    for word in ("enrich ", "dagster", "disk", "GB free", "2 tasks", "1 batches"):
        assert word in shown.output, word
    named = query(str(small / "enrich.duckdb"), "SELECT DISTINCT patient_id AS name FROM studies")
    assert not [name for name in named["name"] if name in shown.output]


def test_the_doctor_names_what_keeps_a_home_from_working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICH_HOME", str(tmp_path))
    (tmp_path / "enrich.yaml").write_text("extends: demo\nvae: {bogus: 1}\n")
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 1
    assert "trouble: " in shown.output
    assert "bogus" in shown.output


ENDING = """
import atexit, os, sys, threading
from enrich_assets import cli
atexit.register(print, "at exit", end="")  # into the buffer, which is written at the end
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
cli.main = lambda: {ends}
cli.enrich()
"""


@pytest.mark.parametrize(
    ("ends", "status"), [("sys.exit(0)", 0), ("sys.exit()", 0), ("None", 0), ("sys.exit(143)", 143), ("sys.exit(1)", 1)]
)
def test_a_command_ends_with_its_status_once_threads_and_what_is_to_be_done_at_exit_have_ended(
    ends: str, status: int
) -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING.format(ends=ends)], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "thread\nat exit", "")


def test_what_could_not_be_written_at_the_end_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", ENDING.format(ends="print('said')")], stdout=full, stderr=subprocess.PIPE
        )
    assert ended.returncode
    assert b"No space left" in ended.stderr
