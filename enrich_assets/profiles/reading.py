"""Where home and its profile are, and how a profile is read: YAML, `extends`, what `null` takes out, and plain errors.

A profile may extend another (`extends: demo`): what it says replaces what the other said, key by key. `null` takes a
task, an arm or an embedding of the other profile out. The arms that a task names replace the arms it has by default, `enrich` and
`random`; if one of them is `null`, they are merged over the defaults instead, so that `arms: {random: null}` leaves
`enrich`. So with embeddings, of which `vae` is the default.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from enrich_assets.profiles.errors import ProfileError
from enrich_assets.profiles.renamed import rename_settings
from enrich_assets.settings import (
    DEFAULT_ARMS,
    DEFAULT_EMBEDDINGS,
    EMBEDDING_KINDS,
    ArmSettings,
    Profile,
    TaskSettings,
    did_you_mean,
)

BUILT_IN = ("archive", "demo", "paper")
MOST_BYTES, MOST_SETTINGS = 1 << 20, 20_000
IN_STORE = "profile.yaml"  # where a run leaves the profile in a store outside its home
Place = tuple[str, ...]  # keys that lead to a setting
Lines = dict[Place, tuple[str, int]]  # file and line of each


def home() -> Path:
    """`ENRICH_HOME`, or `data/` in the working directory."""
    return Path(os.environ.get("ENRICH_HOME") or "data").resolve()


def is_file(source: str) -> bool:
    """Whether a profile is named by the path of a file: not by its name, nor by a URL."""
    return bool(Path(source).suffix) and "://" not in source


def profile_source(home_folder: Path) -> str:
    """What names the profile: `ENRICH_PROFILE`, else home's `enrich.yaml`, else the one that a store elsewhere was run with, else
    the one for any archive."""
    named = os.environ.get("ENRICH_PROFILE")
    if named:
        return named
    own = home_folder / "enrich.yaml"
    if own.exists():
        return str(own)
    kept = f"{os.environ.get('ENRICH_STORE', '').rstrip('/')}/{IN_STORE}"
    return kept if "://" in kept and _exists(kept) else "archive"


def load_profile(source: str) -> Profile:
    """Read a profile and check it.

    Parameters
    ----------
    source : str
        The name of a built-in profile, or the path of a YAML file, or its URL (`s3://bucket/store/profile.yaml`).

    Raises
    ------
    ProfileError
        With a line for each thing that is wrong.

    Warns
    -----
    RenamedSetting
        For each setting under its old name.
    """
    merged, lines = _read(source, seen=())
    try:
        return Profile.model_validate(merged)
    except ValidationError as error:
        raise ProfileError("\n".join(_explain(source, e, lines) for e in error.errors())) from error


def _read(source: str, seen: tuple[str, ...]) -> tuple[dict[str, Any], Lines]:
    """A profile's settings, merged over those of the profile it extends."""
    if source in seen:
        raise ProfileError(f"{source}: `extends` goes in a circle: {' -> '.join((*seen, source))}")
    text, file = _text(source)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _refuse_bomb(node, file)
        rename_settings(node, file)
        settings = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ProfileError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ProfileError(f"{file}: is nested too deeply for a profile") from error
    if settings is None:  # a file of `null`, or of comments and `---`
        settings = {}
    if not isinstance(settings, dict):
        raise ProfileError(f"{file}, line 1: a profile is a mapping of settings (tasks: ..., vae: ...)")
    lines: Lines = {}
    _number(node, (), file, lines)
    parent = settings.pop("extends", None)
    if parent is None:
        return _merge({}, settings, (), lines), lines
    if str(parent) not in BUILT_IN and not Path(str(parent)).is_absolute():
        parent = str(Path(source).resolve().parent / str(parent))
    base, base_lines = _read(str(parent), (*seen, source))
    return _merge(base, settings, (), lines), {**base_lines, **lines}


def _text(source: str) -> tuple[str, str]:
    if source in BUILT_IN:
        name = f"{source}.yaml"
        return resources.files("enrich_assets.profiles").joinpath(name).read_text(encoding="utf-8"), name
    if "://" in source:
        return _text_at(source), source
    path = Path(source)
    if not path.is_file():
        raise ProfileError(f"{source}: no such profile; name a YAML file, or one of {', '.join(BUILT_IN)}")
    if path.stat().st_size > MOST_BYTES:
        raise ProfileError(f"{source}: has {path.stat().st_size:,} bytes; a profile has at most {MOST_BYTES:,}")
    return path.read_text(encoding="utf-8-sig"), str(path)


def _text_at(url: str) -> str:
    """A profile behind a URL."""
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ImportError, ValueError) as error:
        raise ProfileError(f"{url}: cannot be read ({type(error).__name__}: {error})") from error
    if len(content) > MOST_BYTES:
        raise ProfileError(f"{url}: a profile has at most {MOST_BYTES:,} bytes")
    return str(content.decode("utf-8-sig"))


def _exists(url: str) -> bool:
    import fsspec

    fs, path = fsspec.core.url_to_fs(url)
    return bool(fs.exists(path))


def _refuse_bomb(node: yaml.Node | None, file: str) -> None:
    """Refuse a profile whose anchors make it hold itself, or grow beyond what anyone writes (each `*alias` counts in full).

    Raises
    ------
    ProfileError
    """
    sizes: dict[int, int] = {}  # of nodes whose parts are all counted
    around: set[int] = set()
    waiting: list[tuple[yaml.Node, bool]] = [(node, False)] if node is not None else []
    while waiting:
        here, parts_counted = waiting.pop()
        parts = _parts(here)
        if parts_counted:
            around.discard(id(here))
            sizes[id(here)] = 1 + sum(sizes[id(part)] for part in parts)
            if sizes[id(here)] > MOST_SETTINGS:
                line = here.start_mark.line + 1
                raise ProfileError(f"{file}, line {line}: its aliases make more than {MOST_SETTINGS:,} settings of it")
        elif id(here) in around:
            raise ProfileError(f"{file}, line {here.start_mark.line + 1}: a mapping that holds itself is no profile")
        elif id(here) not in sizes:
            around.add(id(here))
            waiting.append((here, True))
            waiting.extend((part, False) for part in parts)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _number(node: yaml.Node | None, at: Place, file: str, lines: Lines) -> None:
    """Note file and line of every setting."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            lines[here] = (file, key.start_mark.line + 1)
            _number(value, here, file, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*at, str(index))
            lines[here] = (file, value.start_mark.line + 1)
            _number(value, here, file, lines)


def _merge(base: dict[str, Any], over: dict[str, Any], at: Place, lines: Lines) -> dict[str, Any]:
    """Mappings merge; anything else replaces. A task or arm set to null is taken out."""
    merged = dict(base)
    for key, value in over.items():
        here = (*at, str(key))
        if value is None and (_is_task(here) or _is_arm(here) or _is_embedding(here)):
            if key not in merged:
                raise ProfileError(f"{_where(here, lines)}: {_nothing_to_take_out(here, list(merged))}")
            del merged[key]
        elif value is None and isinstance(merged.get(key), dict):
            del merged[key]  # a section goes back to its defaults
        elif isinstance(value, dict):
            beneath = merged.get(key)
            if not isinstance(beneath, dict):
                defaults = DEFAULT_ARMS if _is_arms(here) else DEFAULT_EMBEDDINGS if here == ("embeddings",) else {}
                beneath = defaults if None in value.values() else {}
            merged[key] = _merge(beneath, value, here, lines)
        else:
            merged[key] = value
    return merged


def _is_task(at: Place) -> bool:
    return len(at) == 2 and at[0] == "tasks"


def _is_arms(at: Place) -> bool:
    return len(at) == 3 and at[0] == "tasks" and at[2] == "arms"


def _is_arm(at: Place) -> bool:
    return len(at) == 4 and _is_arms(at[:3])


def _is_embedding(at: Place) -> bool:
    return len(at) == 2 and at[0] == "embeddings"


def _nothing_to_take_out(at: Place, names: list[str]) -> str:
    what = "arm" if _is_arm(at) else "embedding" if _is_embedding(at) else "task"
    return (
        f"no {what} {at[-1]!r} for null to take out; {what}s: {', '.join(names) or 'none'}{did_you_mean(at[-1], names)}"
    )


def _where(at: Place, lines: Lines, source: str = "") -> str:
    """File, line and name of a setting, or of the one around it."""
    known = at
    while known and known not in lines:
        known = known[:-1]
    file, line = lines.get(known, (source, 1))
    return f"{file}, line {line}: {'.'.join(at) or 'profile'}"


def _explain(source: str, error: Any, lines: Lines) -> str:
    of_kind = tuple(str(part) for part in error["loc"])
    at = of_kind[:2] + of_kind[3:] if of_kind[:1] == ("embeddings",) else of_kind  # without the name of its kind
    where = _where(at, lines, source)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _allowed(of_kind[:-1])
        listed = f"; allowed here: {', '.join(allowed)}" if allowed else ""
        return f"{where} is no setting{listed}{did_you_mean(at[-1], allowed)}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (is: {str(error.get('input'))[:60]!r})"


def _allowed(at: Place) -> list[str]:
    """Names of the settings at a place in the profile."""
    here: Any = Profile
    for part in at:
        if isinstance(here, type) and issubclass(here, BaseModel):
            annotation = here.model_fields[part].annotation if part in here.model_fields else None
            if part == "tasks":
                here = {"": TaskSettings}
            elif part == "arms":
                here = {"": ArmSettings}
            elif part == "embeddings":
                here = {"": EMBEDDING_KINDS}
            else:
                here = annotation
        elif isinstance(here, dict):
            here = here.get(part, here.get(""))
        else:
            return []
    if isinstance(here, type) and issubclass(here, BaseModel):
        return sorted(here.model_fields)
    return sorted(getattr(here, "__dataclass_fields__", {}))
