"""Curate medical-image training sets: redundancy, ranking, and proof of how few labels suffice."""

import os
from typing import TYPE_CHECKING, Any

# Threads that wait for work must not burn the core another process needs: on shared machines the default, spinning, makes
# small networks ten times slower. Read by OpenMP when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from enrich_assets.component import EnrichArchive as EnrichArchive
else:

    def __getattr__(name: str) -> Any:
        """The component, when somebody asks for it: Dagster is not imported for `import enrich_assets`."""
        if name == "EnrichArchive":
            from enrich_assets.component import EnrichArchive

            return EnrichArchive
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """With the component, which `dg` looks for here (the entry point `dagster_dg_cli.registry_modules`)."""
    return sorted({*globals(), "EnrichArchive"})
