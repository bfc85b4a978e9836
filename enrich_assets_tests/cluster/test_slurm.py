"""`deploy/slurm/enrich.sbatch` on a real Slurm: a controller and two nodes on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from enrich_assets.archive import Archive
from enrich_assets.defs.run_tags import NODE
from enrich_assets.profiles import load_profile
from enrich_assets_tests.cluster.processes import BIN, ROOT, Slurm
from enrich_assets_tests.cluster.test_ray import assert_nothing_lost_and_nothing_twice, forget, runs

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not shutil.which("slurmctld", path="/usr/sbin:/sbin"), reason="Slurm is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="Slurm's nodes need root"),
]
SCRIPT = ROOT / "deploy" / "slurm" / "enrich.sbatch"


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    with Slurm() as slurm:
        yield slurm


def test_an_allocation_of_two_nodes_makes_what_one_machine_makes(small: Path, slurm: Slurm, tmp_path: Path) -> None:
    profile = small / "enrich.yaml"
    profile.write_text(profile.read_text().replace("workers: 1\n", "engine: {kind: ray, address: auto}\n"))
    archive = Archive(small, load_profile(str(profile)))
    before, output = forget(archive), tmp_path / "job.log"
    environment = {
        **slurm.environment,
        "PYTHONPATH": str(ROOT),
        "ENRICH_HOME": str(small),
        "ENRICH_BIN": str(BIN),
        "ENRICH_RAY_ARGS": "--object-store-memory 100000000",
    }
    command = ["sbatch", "--wait", "--cpus-per-task=1", f"--output={output}", str(SCRIPT), "--task", "view"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = output.read_text() if output.exists() else done.stderr
    assert done.returncode == 0, said
    assert "2 nodes have joined" in said
    assert runs(archive, tags={NODE: "n1"}), said
    assert runs(archive, tags={NODE: "n2"}), said
    archive.profile = archive.profile.model_copy(update={"engine": load_profile("demo").engine})  # that cluster is gone
    assert_nothing_lost_and_nothing_twice(archive, before)
