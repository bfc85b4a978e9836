"""The engine: what executes cells. Nothing of it changes what a cell holds, so none of it is part of a cell's digest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from enrich_assets.settings.words import Section


class LocalEngineSettings(Section):
    """This machine: processes that stay, as many as `workers` says."""

    kind: Literal["local"] = "local"


class RayEngineSettings(Section):
    """A Ray cluster: as many cells at once as its nodes have room for."""

    kind: Literal["ray"]
    address: str = "auto"  # HOST:PORT of the head; auto: the cluster that runs on this machine, or RAY_ADDRESS
    cpus: float = Field(1, gt=0)  # of a cell
    gpus: float = Field(0, ge=0)  # of a cell; a share (0.5) lets several cells use one GPU
    memory: ByteSize | None = None  # of a cell (`4GiB`); None: not counted
    retries: int = Field(3, ge=0)  # how often a cell whose node or process died is handed out once more


EngineOf = Annotated[LocalEngineSettings | RayEngineSettings, Field(discriminator="kind")]
