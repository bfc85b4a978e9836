"""What cannot be mounted is said with the file and what to do."""

from __future__ import annotations

import json
import re

import pytest
from dagster.components.core.component_tree import ComponentTreeException

from enrich_assets.component import MountError
from enrich_assets_tests.component.mounted import (
    ONE,
    PROFILE,
    Project,
)


@pytest.mark.parametrize(
    ("yaml", "profile", "sentence"),
    [
        (ONE, "task: {}\n", "profile.yaml, line 1: task is no setting"),
        (ONE.replace("profile.yaml", "absent.yaml"), PROFILE, "absent.yaml: no such profile; name a YAML file"),
        (ONE.replace("archives/one", "pyproject.toml"), PROFILE, "pyproject.toml is a file: name the folder"),
        (ONE.replace("../../../archives/one", "s3://bucket/one"), PROFILE, "put the URL under `store`"),
        (ONE.replace("../../../archives/one", "''"), PROFILE, "is empty: name the folder of the archive"),
        (ONE.replace("key_prefix: one", "key_prefix: heart-left"), PROFILE, "use letters, digits and _"),
    ],
)
def test_what_cannot_be_mounted_is_said_with_the_file_and_what_to_do(
    project: Project, yaml: str, profile: str, sentence: str
) -> None:
    where = project.defs_folder / "one" / "defs.yaml"
    where.write_text(yaml)
    where.with_name("profile.yaml").write_text(profile)
    refusal = refusal_of(project)
    assert re.match(f"{where}: (home|profile|key_prefix): ", refusal)
    assert sentence in refusal


def test_the_home_of_an_earlier_version_is_refused_as_the_project_loads(project: Project) -> None:
    layout = project.folder / "archives" / "one" / "store" / "layout.json"
    layout.write_text(json.dumps({"layout": 1}))
    assert re.search(r"one/defs\.yaml: home: .*layout 1.*another ENRICH_HOME", refusal_of(project))


def refusal_of(project: Project) -> str:
    """Our sentence; Dagster adds which component it came from."""
    with pytest.raises(ComponentTreeException) as refused:
        project.load()
    assert isinstance(refused.value.__cause__, MountError)
    return str(refused.value.__cause__)
