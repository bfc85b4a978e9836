"""`enrich worklist --push` and `enrich labels pull`: a labelling round with a Label Studio server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from enrich_assets.archive.home import Archive
from enrich_assets.archive.labelling.importing import Imported, import_labels
from enrich_assets.running.labelling.handing_out import HandedOut, NothingToLabel, class_names, hand_out
from enrich_assets.running.labelling.predictions import predictions_of
from enrich_assets.studies.labels.label_studio_server import LabelStudioServer, Pushed

PULLED = "label-studio"  # folder of a home that exports are kept in: labels name the file they came from


def project_title(task: str, side: str) -> str:
    """How the project of a task is called on the server."""
    return f"enrich {task}" if side == "train" else f"enrich {task} (test set)"


def push(
    archive: Archive,
    server: LabelStudioServer,
    task: str,
    n: int,
    out: Path,
    *,
    side: str = "train",
    classes: Sequence[str] = (),
    files_root: Path | None = None,
    project: int | None = None,
    propose: bool = True,
) -> tuple[HandedOut, Pushed]:
    """Hand out frames into a project of a Label Studio server.

    Parameters
    ----------
    archive, task, n, out, side, classes
        As of `hand_out`; the files stay, and the server shows the pictures from there. Classes that nobody names are those
        of the project, where it is there.
    server
        Which.
    files_root
        The server's folder of local files; the folder of `out`, where not given.
    project
        Its number; by its title, where not given.
    propose
        Lay what the latest model predicts before the labeller. Never done for test frames: who is to be judged by a label must not
        have proposed it.

    Raises
    ------
    NothingToLabel, ServerTrouble, MissingArtefact
    """
    out = out.absolute()
    root = (files_root or out.parent).absolute()
    folder = out.with_name(f"{out.stem}_images")
    if not folder.is_relative_to(root):
        raise NothingToLabel(
            f"{folder} does not lie below {root}, from where Label Studio shows files: name an --out below it"
        )
    title = project_title(task, side)
    there = server.choices(title, project)  # a server that refuses us does so before pictures are written
    classes = classes or _choices_in_use(archive, task, there)
    before = folder.parent.relative_to(root).as_posix()
    url = "/data/local-files/?d=" + ("" if before == "." else f"{before}/")
    handed_out = hand_out(archive, task, n, "label-studio", out, side=side, classes=classes, image_url=url)
    tasks = json.loads(out.read_text(encoding="utf-8"))
    if propose and side == "train":
        proposed = predictions_of(archive, task, [one["data"]["frame_id"] for one in tasks])
        for one in tasks:
            one["predictions"] = [proposed[one["data"]["frame_id"]]] if proposed else []
    interface = out.with_name(f"{out.stem}_interface.xml").read_text(encoding="utf-8")
    return handed_out, server.push(title, interface, tasks, handed_out.images, project)


def _choices_in_use(archive: Archive, task: str, there: Sequence[str]) -> Sequence[str]:
    """What the project offers already, where neither profile nor labels name the classes."""
    try:
        class_names(archive, task)
    except NothingToLabel:
        return there
    return ()


def pull(
    archive: Archive, server: LabelStudioServer, task: str, side: str, project: int | None
) -> tuple[Path, Imported]:
    """Import what was labelled in a project. Its export is kept in the home; nothing is kept twice.

    Raises
    ------
    ServerTrouble, ValueError, MissingArtefact
    """
    number, tasks = server.pull(project_title(task, side), project)
    archive.make_home()
    folder = archive.home / PULLED
    folder.mkdir(mode=0o700, exist_ok=True)
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    file = folder / f"project-{number}-{at}.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    try:
        found = import_labels(archive, str(file), task)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    if not found.n_imported:
        file.unlink()
    return file, found
