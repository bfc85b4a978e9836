"""What is shipped for clusters names the same Ray everywhere, and only files and settings that exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

from enrich_assets.running.engines.node import NODE_HOME

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def rayjob() -> dict[str, Any]:
    job, claim = yaml.safe_load_all((DEPLOY / "kubernetes" / "rayjob.yaml").read_text())
    assert claim["metadata"]["name"] == "enrich-home"
    return job


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [container for group in groups for container in group["template"]["spec"]["containers"]]


def test_one_ray_on_every_node() -> None:
    locked = re.search(r"^ray==(.+)$", (ROOT / "requirements-ray.lock").read_text(), re.M)
    assert locked
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["ray"] == [f"ray=={locked[1]}"]
    assert rayjob()["spec"]["rayClusterSpec"]["rayVersion"] == locked[1]


def test_the_manifest_runs_one_job_on_one_image_and_the_head_makes_no_cells() -> None:
    spec = rayjob()["spec"]
    assert spec["entrypoint"] == "enrich run"
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert len({container["image"] for container in containers(spec)}) == 1
    mounted = {mount["mountPath"] for container in containers(spec) for mount in container["volumeMounts"]}
    named = dict(re.findall(r"(\w+)=(\S+)", (DEPLOY / "kubernetes" / "Dockerfile").read_text().rpartition("ENV ")[2]))
    assert mounted == {"/home/enrich", named[NODE_HOME]}


def test_the_image_is_made_of_files_that_are_there() -> None:
    text = (DEPLOY / "kubernetes" / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.M) for name in line.split()[:-1]]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_batch_script_is_sound_bash_and_refuses_to_begin_without_a_home() -> None:
    script = str(DEPLOY / "slurm" / "enrich.sbatch")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    done = subprocess.run(["bash", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "name the home, on a folder that all nodes share" in done.stderr
