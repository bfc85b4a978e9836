"""Small homes for attacks, the command as a process of its own, and what a home says in the end."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

PROFILE = """\
extends: archive
frames: {crop: none}
vae: {channels: 4, max_steps: 60, evaluate_every: 30, min_active_share: 0.0, max_error_ratio: 1.0, min_retrieval_ratio: 1.0}
tasks:
  masks: null
  view:
    classes: [a, b]
    positive: b
    size: 32
    initial_frames: 6
    budgets: ["12", "24"]
    seeds: 2
    training: {widths: [4, 8], dense: 16, epochs: 2, min_steps: 10, lr_milestones: []}
"""
# The identity of an evaluation follows from its model's content, so two homes that say the same hold the same weights.
VALUES = """
WITH outcomes AS (
  SELECT evaluation_id, md5(string_agg(concat_ws(':', frame_id, truth, score), ',' ORDER BY frame_id)) AS predictions
  FROM predictions GROUP BY evaluation_id)
SELECT task, arm, budget, seed, value, evaluation_id, subset_id, predictions
FROM evaluations JOIN outcomes USING (evaluation_id) WHERE current ORDER BY ALL
"""


def write_archive(folder: Path, patients: int = 8, first: int = 0) -> Path:
    """Stills of patients: faint stripes in noise with a soft blob, upright (class a) or level (class b). Returns the folder."""
    yy, xx = np.mgrid[:64, :64].astype(float)
    rows = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for patient in range(first, first + patients):
        rng = np.random.default_rng(patient)
        label = "ab"[patient % 2]
        for frame in range(6):
            cy, cx = rng.uniform(16, 48, 2)
            blob = np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / 200)
            stripes = np.sin((xx if label == "a" else yy) * 0.7 + rng.uniform(0, 6))
            image = np.clip(90 + 100 * blob + 10 * stripes + rng.normal(0, 25, yy.shape), 0, 255).astype(np.uint8)
            name = f"images/p{patient:03d}_{frame}.png"
            Image.fromarray(image).save(folder / name)
            side = "test" if patient % 4 >= 2 else "train"
            ids = {"patient_id": f"P{patient:03d}", "study_id": f"S{patient:03d}", "clip_id": f"C{frame}"}
            rows.append({"path": name, **ids, "label": label, "split": side})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder


def new_home(place: Path) -> Path:
    """An empty home with the profile of the attacks."""
    place.mkdir(parents=True)
    (place / "enrich.yaml").write_text(PROFILE, encoding="utf-8")
    return place


def finished_home(place: Path) -> tuple[Path, Path]:
    """An archive below `place`, and a home that nobody disturbed, in which everything is made of it."""
    archive, home = write_archive(place / "archive"), new_home(place / "undisturbed")
    for command in (("ingest", str(archive)), ("run",)):
        code, said = done(home, *command)
        if code:
            raise RuntimeError(said)
    return archive, home


def faketime_library() -> Path | None:
    """The library that gives a process another clock; None where there is none.

    That of PyPI: under Debian 12's (0.9.10) either `time.sleep` raises or a wait with a time limit never ends, and the tails that Dagster
    starts outlive it.
    """
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.rglob("libfaketime.so.1"), None)


def begin(home: Path, *arguments: str, year: int | None = None, output: Path | None = None) -> subprocess.Popen[str]:
    """`enrich ...` as a process.

    Parameters
    ----------
    home, arguments
        ENRICH_HOME, and what follows `enrich`.
    year
        The year that the clock of the process begins with (`faketime_library`); None: the clock of the machine.
    output
        A file for what it says; None: a pipe.
    """
    repository = Path(__file__).resolve().parents[2]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENRICH_", "DAGSTER_"))}
    environment |= {"ENRICH_HOME": str(home), "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "enrich_assets.cli", *arguments]
    if year is not None:
        library = faketime_library()
        assert library is not None, "no libfaketime: pip install libfaketime"
        environment |= {"LD_PRELOAD": str(library), "FAKETIME": f"@{year}-01-01 00:00:00"}
        environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"  # a clock that is set back does not move this one
    if output is None:
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with output.open("w") as file:
        return subprocess.Popen(command, env=environment, text=True, stdout=file, stderr=subprocess.STDOUT)


def done(home: Path, *arguments: str, year: int | None = None) -> tuple[int, str]:
    """`enrich ...` to its end: exit status (negative: the signal that ended it) and output."""
    # No pipe: whoever outlives the process would keep it open.
    with tempfile.NamedTemporaryFile("r", prefix="enrich-said-") as file:
        code = begin(home, *arguments, year=year, output=Path(file.name)).wait()
        return code, file.read()


def values(home: Path) -> str:
    """The current evaluations of a home and the digest of what each predicted, a line each."""
    code, said = done(home, "sql", VALUES, "--format", "csv")
    if code:
        raise RuntimeError(said)
    return said
