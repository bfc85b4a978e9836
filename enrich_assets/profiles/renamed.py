"""Settings that have changed name. The old name is read for one version, with a warning; then its line here goes."""

from __future__ import annotations

import warnings

import yaml

from enrich_assets.profiles.errors import ProfileError, RenamedSetting

# `*` stands for any task. Only the last part of a name has changed.
RENAMED = {
    "frames.every": "frame_stride",
    "frames.share": "crop_fraction",
    "tasks.*.share": "crop_fraction",
    "tasks.*.start": "initial_frames",
    "tasks.*.training.drops": "lr_milestones",
    "incoming.quiet_seconds": "settle_seconds",
    "incoming.gather": "drops_per_batch",
    "incoming.every_seconds": "interval_seconds",
}
MERGE = "<<"  # YAML's key that inserts another mapping here


def rename_settings(node: yaml.Node | None, file: str, at: tuple[str, ...] = ()) -> None:
    """Give the settings of a profile their present names, in place.

    Works on nodes, before values are made of them, because nodes know their lines.

    Parameters
    ----------
    node : yaml.Node or None
        What stands at `at` in the profile.
    file : str
        The profile's file, for messages.
    at : tuple of str
        Keys that lead to the node.

    Raises
    ------
    ProfileError
        If a setting is given under both names.

    Warns
    -----
    RenamedSetting
        For each setting under its old name.
    """
    if isinstance(node, yaml.SequenceNode):  # of mappings, to insert
        for item in node.value:
            rename_settings(item, file, at)
    if not isinstance(node, yaml.MappingNode):
        return
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = str(key.value)
        new = RENAMED.get(_pattern((*at, name)))
        if new is not None:
            old_name, new_name = ".".join((*at, name)), ".".join((*at, new))
            where = f"{file}, line {lines[name]}: {old_name}"
            if new in lines:
                raise ProfileError(f"{where} is the old name of {new_name}, which line {lines[new]} gives; keep one")
            warnings.warn(
                f"{where} is now called {new_name}; this version still reads the old name, the next will not",
                RenamedSetting,
                stacklevel=2,
            )
            key.value = name = new
        rename_settings(value, file, at if name == MERGE else (*at, name))


def _pattern(at: tuple[str, ...]) -> str:
    return ".".join("*" if at[:1] == ("tasks",) and place == 1 else part for place, part in enumerate(at))
