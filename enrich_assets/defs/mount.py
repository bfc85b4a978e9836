"""What this archive's things are called in Dagster. Mounted beside other archives in one project, each has a prefix of its own."""

from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from enrich_assets.core.step import CHECK_SIGN

BATCH, ARCHIVE = "batch", "archive"
PARTITION = (
    "dagster/partition"  # run tag: the only way to say which partition of checks a run is for, where it has no assets
)


@dataclass(frozen=True)
class Mount:
    """Names of assets, checks, jobs, partitions and the resource.

    Parameters
    ----------
    prefix
        Comes first in each; without one the names are as in DESIGN.
    """

    prefix: str = ""

    def asset_key(self, key: str) -> dg.AssetKey:
        """Of an asset of the graph."""
        return dg.AssetKey([*([self.prefix] if self.prefix else []), *key.split("/")])

    def check_key(self, key: str) -> dg.AssetCheckKey:
        """Of a check of the graph, `asset@name`."""
        asset, _, name = key.partition(CHECK_SIGN)
        return dg.AssetCheckKey(self.asset_key(asset), name)

    def key(self, asset_key: dg.AssetKey) -> str:
        """The inverse of `asset_key`."""
        path = asset_key.path[1:] if self.prefix else asset_key.path
        return "/".join(path)

    def name(self, name: str) -> str:
        """Name of a job, sensor, schedule or group."""
        return f"{self.prefix}_{name}" if self.prefix else name

    def tag(self, value: str) -> str:
        """Value of a run tag by which runs of this archive are counted or found; a prefix and a name hold no slash."""
        return f"{self.prefix}/{value}" if self.prefix else value

    @cached_property
    def batches(self) -> dg.DynamicPartitionsDefinition:
        """The partitions definition of the batches."""
        return dg.DynamicPartitionsDefinition(name=self.name(BATCH))

    @property
    def resource(self) -> str:
        """Name of the archive's resource."""
        return self.name(ARCHIVE)
