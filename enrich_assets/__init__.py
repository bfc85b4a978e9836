"""Curate medical-image training sets: redundancy, ranking, and proof of how few labels suffice.

    import enrich_assets as ea

    ea.rank(X, 100)             positions of the rows of X to label first
    ea.redundancy(X, groups)    a histogram of all pairs' cosines
    ea.near_duplicates(X)       pairs that are nearly the same
    ea.coverage(X, chosen)      what a choice leaves out
    ea.KCenterSelector(100)     the same as scikit-learn estimators
    ea.open("data")             an archive's results: tables, frames, embeddings

Importing it is quick: each name loads what it needs when it is first asked for.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Threads that wait for work must not burn the core another process needs: on shared machines the default, spinning, makes
# small networks ten times slower. Read by OpenMP when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PLACES = {  # name -> where it stands
    "EnrichArchive": "component:EnrichArchive",
    "rank": "api.vectors:rank",
    "redundancy": "api.vectors:redundancy",
    "near_duplicates": "api.vectors:near_duplicates",
    "coverage": "api.vectors:coverage",
    "KCenterSelector": "api.selectors:KCenterSelector",
    "MeanSelector": "api.selectors:MeanSelector",
    "FacilityLocationSelector": "api.selectors:FacilityLocationSelector",
    "RandomSelector": "api.selectors:RandomSelector",
    "open": "api.home:open_home",
}

if TYPE_CHECKING:
    from enrich_assets.api.home import open_home as open  # noqa: F401
    from enrich_assets.api.selectors import FacilityLocationSelector as FacilityLocationSelector
    from enrich_assets.api.selectors import KCenterSelector as KCenterSelector
    from enrich_assets.api.selectors import MeanSelector as MeanSelector
    from enrich_assets.api.selectors import RandomSelector as RandomSelector
    from enrich_assets.api.vectors import coverage as coverage
    from enrich_assets.api.vectors import near_duplicates as near_duplicates
    from enrich_assets.api.vectors import rank as rank
    from enrich_assets.api.vectors import redundancy as redundancy
    from enrich_assets.component import EnrichArchive as EnrichArchive
else:

    def __getattr__(name: str) -> Any:
        """The public names, loaded when somebody asks for one."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, attribute = _PLACES[name].partition(":")
        return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    """With the public names; `dg` looks here for the component (the entry point `dagster_dg_cli.registry_modules`)."""
    return sorted({*globals(), *_PLACES})
