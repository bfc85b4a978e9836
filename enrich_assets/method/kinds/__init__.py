"""What a task teaches: view classification, segmentation, and whatever further kind has a file here.

The door: `kind_of(name)` wherever something depends on the kind of a task. A further kind is one further file of this
folder (or any module that is imported) which calls `register` with its `TaskKind`; nothing else is touched. The profile
imports this room, so it loads neither torch nor scipy before a method needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from enrich_assets.method.kinds.base import Score, TaskKind, kind_names, kind_of, kind_of_metric, register

__all__ = ["Score", "TaskKind", "kind_names", "kind_of", "kind_of_metric", "register"]


def load(folders: Iterable[str]) -> None:
    """Import every module of these folders of the package; each registers its kind."""
    for module in iter_modules(folders):
        import_module(f"{__name__}.{module.name}")


load(__path__)
