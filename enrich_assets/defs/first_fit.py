"""The sensors that fit an embedding to the archive for the first time, once the drops are read; never again by themselves."""

import dagster as dg

from enrich_assets.archive.drops import DropRegister
from enrich_assets.archive.home import Archive
from enrich_assets.core.graph import Graph
from enrich_assets.core.keys import VAE_WEIGHTS
from enrich_assets.core.planner import Planner
from enrich_assets.defs.attempts import ATTEMPT_OF, MOST_ATTEMPTS, attempts, run_key
from enrich_assets.defs.jobs import fitting_job
from enrich_assets.defs.mount import Mount
from enrich_assets.store.receipts import Cell, digest_of


def first_fit_sensor(graph: Graph, mount: Mount, key: str) -> dg.SensorDefinition:
    @dg.sensor(
        name=mount.name(f"first_{key.removesuffix('_weights')}"),
        job_name=mount.name(fitting_job(key)),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={mount.resource},
        description=f"Makes {key} once, when the first folders of `incoming/` are decoded. After that only you start it: job `{fitting_job(key)}`.",
    )
    def first_fit(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        archive = getattr(context.resources, mount.resource).open()
        return first_vae_request(archive, graph, context.instance, mount, key)

    return first_fit


def first_vae_request(
    archive: Archive,
    graph: Graph,
    instance: dg.DagsterInstance,
    mount: Mount = Mount(),  # noqa: B008  (frozen)
    key: str = VAE_WEIGHTS,
) -> dg.RunRequest | dg.SkipReason:
    """The run that trains the first VAE (or fits what else `key` names), once all that dropped in so far is read.

    Where it did not pass its health check (too few frames, mostly) it is asked for again when more frames have come.
    """
    planner = Planner(archive, graph)
    vae = archive.store.receipts.current(Cell(key))
    if vae is not None and _is_sound(planner, vae.cell):
        return dg.SkipReason("there is a VAE")
    if not DropRegister(archive).batches & set(archive.batches):
        return dg.SkipReason("nothing has dropped in")  # what was ingested by hand is run by hand
    if set(archive.batches) - set(planner.held("split")) or set(archive.batches) - set(planner.held("frames")):
        return dg.SkipReason("waiting until every batch is read")
    frames = {batch: receipt.digest for batch, receipt in planner.held("frames").items()}
    what = mount.tag(f"first-{key.removesuffix('_weights')}-{digest_of(frames)[:16]}")
    tried = attempts(instance, what)
    if tried.going_on:
        return dg.SkipReason("it is being trained")
    seen = vae.digests_read.get("frames", {}) if vae is not None else {}
    if vae is not None and {f"frames[{b}]": d for b, d in frames.items()}.items() <= seen.items():
        return dg.SkipReason("the VAE is not healthy; waiting for more frames")
    if not tried.may_try:
        return dg.SkipReason(f"training it failed in {MOST_ATTEMPTS} runs ({what}); look at their logs")
    return dg.RunRequest(
        run_key=run_key(what, tried), tags={ATTEMPT_OF: what}
    )  # not "only stale": an unhealthy one is made again


def _is_sound(planner: Planner, cell: Cell) -> bool:
    try:
        planner.require_sound(cell, planner.receipts.require(cell))
    except LookupError:
        return False
    return True
