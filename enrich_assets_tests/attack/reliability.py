"""RELIABILITY.md: each fault, what is promised, the tests that hold it, and what the last full attack counted.

The counts lie in `counts.json`, written by `python -m enrich_assets_tests.attack --scale full`; the page is drawn from both.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from enrich_assets_tests.attack.exits import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE, COUNTS = REPOSITORY / "RELIABILITY.md", Path(__file__).with_name("counts.json")
TESTS = "enrich_assets_tests"
HEAD = """\
# Reliability

What may go wrong, what we promise then, the tests that hold the promise (`make test`; with real servers `.ci/servers`), and what the last attack on whole processes
counted. `make attack` attacks with everything (an hour or two on two cores), writes the counts and this page; in small, some minutes
(`python -m enrich_assets_tests.attack --scale quick`). The page is drawn by `enrich_assets_tests/attack/reliability.py`: change it there.

*Harm* is whatever breaks the promise: an evaluation that differs from the undisturbed home's by one bit, a file lost, a process that
ends by a signal of its own, an error without a sentence. "undisturbed" is a home with the same studies that nobody touched.
"""


@dataclass(frozen=True)
class Fault:
    """A row of the page.

    Parameters
    ----------
    fault, promise
        In words.
    tests
        Paths below `enrich_assets_tests/`, with `::name` for one test of a file.
    attack
        Whose counts stand beside it; "" where tests are all there is.
    """

    fault: str
    promise: str
    tests: tuple[str, ...]
    attack: str = ""


FAULTS = (
    Fault(
        "`enrich run` killed (SIGKILL) at any moment, again and again",
        "the next run goes on; in the end every evaluation, model and prediction is that of an undisturbed home",
        (
            "end_to_end/test_workers.py::test_a_killed_process_costs_its_cell_and_no_other",
            "store/test_receipts.py::test_an_interrupted_draft_leaves_nothing_current_and_is_continued",
            "running/test_dead_runs.py",
        ),
        "kills",
    ),
    Fault(
        "TERM or INT, twice, swallowed, in the background",
        "said at once, ended within 8 s, status 130 or 143, no child left",
        ("running/test_interrupts.py", "studies/isolation/test_isolation.py::test_no_child_outlives_its_parent"),
    ),
    Fault(
        "the disk is full, at ever later moments",
        "one sentence that says so, no half-written file; with room the home ends as an undisturbed one",
        ("store/test_integrity.py::test_a_full_disk_leaves_no_half_written_file",),
        "full disk",
    ),
    Fault(
        "the clock is set back and forward between commands",
        "the label imported last counts, batches keep their order, nothing is made twice, evaluations as in an undisturbed home",
        (
            "store/test_integrity.py::test_receipts_are_ordered_by_their_number_when_a_clock_is_set_back",
            "store/test_integrity.py::test_the_last_import_counts_also_when_the_clock_is_set_back",
        ),
        "clock",
    ),
    Fault(
        "a FIFO, socket, device, link, empty, cut or disguised file, a playlist or a zip that names other files, in a manifest",
        "each is read or refused by name, once; nothing hangs; every whole file beside it is ingested and decoded",
        ("studies/test_files.py", "studies/test_zips.py", "studies/decoding/test_hostile.py"),
        "hostile",
    ),
    Fault(
        "media with bytes flipped, cut, doubled or zeroed",
        "read, or refused by name; a decoder that dies costs its file, and the next file is read",
        ("studies/isolation/test_isolation.py", "archive/test_ingest.py"),
        "mutations",
    ),
    Fault(
        "files that unpack to far more than they are",
        "refused by their header, or ended at 4 GiB and 120 s in a process of their own",
        ("studies/test_limits.py", "studies/decoding/test_hostile.py", "studies/test_zips.py"),
    ),
    Fault(
        "two `enrich run` and four `enrich ingest` on one home at once",
        "no batch is lost, one run works and the other says so, every cell is whole and every chain holds",
        (
            "end_to_end/test_during_a_run.py",
            "end_to_end/test_odd_batches.py::test_a_batch_is_registered_by_one_at_a_time",
            "store/published/test_write.py::test_two_publishers_at_once_take_turns",
        ),
        "at once",
    ),
    Fault(
        "two makers of one cell, of each kind of asset and check",
        "one makes it, the other takes what was made; it holds what it held",
        ("core/test_making.py",),
        "makers",
    ),
    Fault(
        "twenty drops before the daemon of `enrich ui`, three of them poisoned, one named like a file of ours",
        "every whole drop becomes a decoded batch, each poisoned one is set aside with its reason, none stops another",
        (
            "defs/test_sensors.py",
            "defs/test_asked_again.py",
            "studies/test_drops.py",
            "studies/test_limits.py::test_a_drop_of_any_name_goes_to_quarantine",
        ),
        "drops",
    ),
    *(
        Fault(
            f"`{command}` under load, four at once",
            "each ends with status 0 after its work, none is aborted when the interpreter ends",
            ("test_parquet.py::test_reading_and_writing_start_no_thread",),
            f"exits of {command}",
        )
        for command in COMMANDS
    ),
    Fault(
        "a flipped byte, or a file gone, in what is kept",
        "never used; said with its file and cell; `enrich repair` has it made again, or says what cannot be had",
        (
            "store/test_integrity.py",
            "end_to_end/test_repair.py",
            "end_to_end/test_repaired.py",
            "end_to_end/test_published.py",
        ),
    ),
    Fault(
        "a node of a cluster killed in the middle of a cell, or frozen and awake again later",
        "its runs are ended, its cells made on another node, nothing it makes later counts; every digest as on one machine",
        (
            "cluster/test_ray.py::test_a_killed_node_costs_no_cell",
            "cluster/test_ray.py::test_a_frozen_node_costs_no_cell_and_keeps_nothing_when_it_wakes",
            "cluster/test_ray.py::test_a_panel_in_blocks_on_nodes_is_the_panel_of_one_pass_though_a_node_is_killed",
            "cluster/test_whole_cluster.py",
        ),
    ),
    Fault(
        "the driver of a cluster killed while nodes make cells",
        "the next run ends the runs left STARTED, goes on, and ends with the same digests",
        ("cluster/test_ray.py::test_a_driver_that_ends_amid_its_cells_is_resumed_by_the_next_run",),
    ),
    Fault(
        "the object store gone for a minute, Postgres stopped as by a crash and started again",
        "the run waits or makes the cell again; nothing lost, nothing twice, no run left STARTED, the same digests",
        (
            "cluster/test_store_and_databases.py::test_s3_refuses_for_a_minute",
            "cluster/test_store_and_databases.py::test_mlflow_on_postgres_holds_one_finished_run_for_each_evaluation",
        ),
    ),
    Fault(
        "a sender of DICOM that breaks off, sends twice, or finds our disk full",
        "what was answered with success is kept once, the rest is answered as refused and may be sent again",
        (
            "running/receiving/test_arrivals.py",
            "running/receiving/test_listening.py",
            "running/receiving/test_orthanc.py",
        ),
    ),
    Fault(
        "`pseudonym.key` lost or another one",
        "refused while sealed batches exist; a copy puts everything back",
        ("archive/test_key.py",),
    ),
    Fault(
        "wrong data that looks right: rows shuffled, patients renamed, frames doubled, constant or black, one label wrong, one class "
        "on the test side, a loss that is no number",
        "what may not change stays the same to the bit; what must change does, and nothing else; what cannot be scored is said",
        ("end_to_end/test_row_order.py", "end_to_end/test_metamorphic.py", "archive/sides/test_odd_identities.py"),
    ),
    Fault(
        "names, dates and text in headers, file names and pixels",
        "none is kept in clear; text that may stand in pixels is warned of",
        (
            "end_to_end/test_privacy.py",
            "end_to_end/test_names_sealed.py",
            "studies/dicom/test_profile_of_the_standard.py",
            "studies/decoding/test_burned_in.py",
        ),
    ),
    Fault(
        "formulas in a worklist, XML entities, YAML that grows or holds itself, 20,000 columns",
        "neutralised, or refused in a sentence of a few words",
        ("studies/test_limits.py", "studies/labels/test_hostile_xml.py", "test_settings.py"),
    ),
)


def machine() -> str:
    """Processor, cores and memory, in a few words."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    kilobytes = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    memory = f", {round(kilobytes / 2**20)} GB" if kilobytes else ""
    return f"{model}, {os.cpu_count()} cores{memory}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def last_counts() -> dict[str, dict[str, Any]]:
    """Name of an attack -> what it counted last, where and when."""
    return json.loads(COUNTS.read_text()) if COUNTS.is_file() else {}


def keep(name: str, counts: dict[str, int] | str, seconds: float) -> None:
    """Write down what a full attack counted, and draw the page again."""
    kept = last_counts()
    kept[name] = {
        "counts": counts,
        "seconds": round(seconds),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
    }
    COUNTS.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n")
    PAGE.write_text(page(kept))


def page(kept: dict[str, dict[str, Any]]) -> str:
    """The text of RELIABILITY.md."""
    lines = [HEAD, "| fault | promise | tests | last attack |", "|---|---|---|---|"]
    for row in FAULTS:
        tests = ", ".join(f"`{test}`" for test in row.tests)
        lines.append(f"| {row.fault} | {row.promise} | {tests} | {_counted(row.attack, kept)} |")
    places = sorted({(one["date"], one["machine"]) for one in kept.values()})
    lines += ["", *(f"Attacked on {date}: {place}." for date, place in places)]
    return "\n".join(lines) + "\n"


def _counted(name: str, kept: dict[str, dict[str, Any]]) -> str:
    if not name:
        return "by tests alone"
    if name not in kept:
        return f"`{name}`: not yet"
    counts, minutes = kept[name]["counts"], max(1, round(kept[name]["seconds"] / 60))
    words = counts if isinstance(counts, str) else ", ".join(f"{what}: {number:,}" for what, number in counts.items())
    return f"`{name}`, {kept[name]['date']}, {minutes} min: {words}"
