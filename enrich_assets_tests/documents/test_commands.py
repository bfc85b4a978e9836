"""Every command of the pages about one's own archive, run in a folder of archives such as the page names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from nbclient import NotebookClient
from PIL import Image

from enrich_assets_tests.documents.blocks import DOCS, blocks, commands
from enrich_assets_tests.studies.made_dicom import as_bytes, dataset, sector

pytestmark = pytest.mark.documents

PROFILE = """extends: archive
frames: {crop: none}
vae: {channels: 16, max_steps: 200, evaluate_every: 100, min_active_share: 0.02}
tasks: {masks: null, view: {classes: [a, b]}}
"""


def picture(rng: np.random.Generator, upright: bool) -> np.ndarray:
    rows, columns = np.mgrid[:96, :96]
    centre = rng.uniform(20, 76, 2)
    blob = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 200)
    stripes = np.sin((columns if upright else rows) * 0.7)
    return np.clip(90 + 100 * blob + 40 * stripes + rng.normal(0, 4, rows.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def archives(tmp_path) -> Path:
    """`pictures` with a table, `plain` without one, `dicom`, `volumes`."""
    rng, rows, volumes = np.random.default_rng(0), [], []
    for patient in range(8):
        (tmp_path / "plain" / f"P{patient}").mkdir(parents=True)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        for k in range(4):
            image = Image.fromarray(picture(rng, patient % 2 == 0))
            image.save(tmp_path / "plain" / f"P{patient}" / f"{k}.png")
            image.save(tmp_path / "pictures" / f"P{patient}_{k}.png")
            rows.append({"path": f"P{patient}_{k}.png", "patient_id": f"P{patient}", "clip_id": f"C{k}"})
    pd.DataFrame(rows).to_csv(tmp_path / "pictures" / "manifest.csv", index=False)
    (tmp_path / "dicom").mkdir()
    for k in range(4):
        made = dataset(sector(2 + k, 150, 200), modality="US", PatientID=f"P{k}")
        (tmp_path / "dicom" / f"{k}.dcm").write_bytes(as_bytes(made))
    (tmp_path / "volumes").mkdir()
    for patient in range(6):
        grey = np.stack([picture(rng, True) for _ in range(4)])
        for name, array in (("image", grey), ("mask", (grey > 150).astype(np.uint8))):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "volumes" / f"P{patient}_{name}.nii.gz"))
        volumes.append(
            {"path": f"P{patient}_image.nii.gz", "patient_id": f"P{patient}", "mask_path": f"P{patient}_mask.nii.gz"}
        )
    pd.DataFrame(volumes).to_csv(tmp_path / "volumes" / "manifest.csv", index=False)
    return tmp_path


def run(folder: Path, lines: list[str], profile: str) -> str:
    """As typed into one shell; what it printed."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "home" / "enrich.yaml").write_text(profile, encoding="utf-8")
    enrich = f'enrich() {{ "{sys.executable}" -m enrich_assets.cli "$@"; }}'
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ENRICH_", "DAGSTER_"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([enrich, *lines])],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def section(heading: str) -> list[str]:
    """Commands below a heading of archive.md, after those that hold for all of them."""
    text = (DOCS / "archive.md").read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    below = [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return [commands("archive.md")[0], *below]


@pytest.mark.parametrize(
    ("heading", "says"),
    [
        ("Pictures or clips with a table", "train"),
        ("Pictures or clips without a table", "patient_id"),
        ("DICOM", "read"),
    ],
)
def test_an_archive_of_each_kind_goes_in_as_the_page_says(heading, says, archives):
    quick = "embeddings: {pca: {}}\n" if heading == "DICOM" else ""  # sixteen frames of noise teach a VAE nothing
    assert says in run(archives, section(heading), PROFILE + quick)


def test_volumes_go_in_as_the_page_says(archives):
    profile = (
        blocks("archive.md", "yaml")[0]
        + "vae: {channels: 16, max_steps: 200, evaluate_every: 100, min_active_share: 0.02}\n"
    )
    lines = [*section("Volumes"), 'enrich sql "SELECT count(*) AS n FROM current_labels" --format csv']
    assert run(archives, lines, profile).split()[-1] == "24"  # six volumes of four slices, a mask each


def test_a_round_of_labelling_goes_as_the_page_says(archives):
    run(archives, commands("labelling.md"), PROFILE.replace(", view: {classes: [a, b]}", ""))
    first, then = (pd.read_csv(archives / name)["frame_id"] for name in ("todo.csv", "next.csv"))
    assert len(first) == len(then) == 10
    assert not set(first) & set(then)


@pytest.mark.parametrize("name", ["your_vectors.ipynb", "results.ipynb"])
def test_a_notebook_runs_from_top_to_bottom(name, small, monkeypatch):
    notebook = nbformat.read(DOCS / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(small.parent)}}).execute()
    assert all(
        "output_type" in output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
