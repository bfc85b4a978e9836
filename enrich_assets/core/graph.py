"""The graph of a profile: every step and check, by key, in an order in which each stands after what it is made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from enrich_assets.core.reads import Over
from enrich_assets.core.step import Check, Declared, Step, Template
from enrich_assets.settings import Profile


class Graph:
    """Steps and checks of a profile, by key.

    Parameters
    ----------
    profile
        Names the tasks, arms and seeds.
    templates
        Declarations, each after those it reads.
    """

    def __init__(self, profile: Profile, templates: Iterable[Template]) -> None:
        self.profile = profile
        self.steps: dict[str, Step] = {}
        self.checks: dict[str, Check] = {}
        for template in templates:
            for declared in template.at_each_place(profile):
                if isinstance(declared, Check):
                    self.checks[declared.key] = declared
                elif isinstance(declared, Step):
                    self.steps[declared.key] = declared
        self._checks_of: dict[str, list[Check]] = {key: [] for key in self.steps}
        for check in self.checks.values():
            self._checks_of[check.asset].append(check)

    def __getitem__(self, key: str) -> Declared:
        return self.steps[key] if key in self.steps else self.checks[key]

    def checks_of(self, key: str) -> list[Check]:
        """Checks of an asset, in the order of their declaration."""
        return self._checks_of.get(key, [])

    def upstream(self, declared: Declared) -> set[str]:
        """Keys of the assets it reads, itself left out."""
        keys = {
            key for read in declared.reads.values() if read.over is not Over.ITSELF for key in read.keys(declared.where)
        }
        return keys - {declared.key}

    def with_checks(self, keys: Sequence[str]) -> list[Declared]:
        """The steps in this order, each followed by its checks."""
        return [declared for key in keys for declared in (self.steps[key], *self.checks_of(key))]
