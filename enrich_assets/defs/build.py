"""From declarations to what Dagster sees: assets, checks, and the Definitions object with jobs, sensors and schedules."""

import warnings
from functools import partial
from typing import Any

import dagster as dg

from enrich_assets.archive.home import Archive
from enrich_assets.core.graph import Graph
from enrich_assets.core.making import Made, make
from enrich_assets.core.partitions import Partitions, budget_keys
from enrich_assets.core.planner import Planner
from enrich_assets.core.reads import Over, Read
from enrich_assets.core.step import Check, Declared, Step
from enrich_assets.defs.assets import graph_of
from enrich_assets.defs.attempts import require_alive
from enrich_assets.defs.jobs import jobs
from enrich_assets.defs.metadata import WAS_FRESH, as_metadata, code_reference, metadata_of, published_schemas
from enrich_assets.defs.mount import Mount
from enrich_assets.defs.resources import ArchiveResource
from enrich_assets.defs.run_tags import ONLY_STALE, PINNED, tag_run
from enrich_assets.defs.schedules import schedules
from enrich_assets.defs.sensors import sensors
from enrich_assets.settings import Profile
from enrich_assets.store.plain_errors import in_words, is_of_hand
from enrich_assets.store.receipts import Receipt

# Of an unreachable disk or server, not of an error of ours: those are not retried (`_making`).
RETRIES = dg.RetryPolicy(max_retries=2, delay=1, backoff=dg.Backoff.EXPONENTIAL)

# Checks of partitioned assets and code references are marked so; a user can do nothing about it.
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category)


def build_definitions(profile: Profile, archive: ArchiveResource | None = None, prefix: str = "") -> dg.Definitions:
    """Everything Dagster sees of one archive.

    Parameters
    ----------
    profile
        Says which assets there are.
    archive
        Opens the archive; a test hands in its own. None: by the environment.
    prefix
        Of every name, where several archives are mounted in one project.
    """
    mount, graph = Mount(prefix), graph_of(profile)
    all_jobs = jobs(graph, mount)
    return dg.Definitions(
        assets=[as_asset(graph, step, mount) for step in graph.steps.values()],
        asset_checks=[as_check(graph, check, mount) for check in graph.checks.values()],
        jobs=all_jobs,
        schedules=schedules(graph, mount),
        sensors=sensors(graph, mount, all_jobs),
        resources={mount.resource: archive or ArchiveResource()},
        executor=dg.in_process_executor,
    )


def as_asset(graph: Graph, step: Step, mount: Mount) -> dg.AssetsDefinition:
    """The Dagster asset of a step."""

    @dg.asset(
        key=mount.asset_key(step.key),
        partitions_def=partitions_of(step, mount),
        deps=_edges(graph, step, mount),
        group_name=mount.name(step.group),
        kinds=set(step.kinds),
        tags=_tags(step),
        description=step.description,
        code_version=step.settings_digest[:12],
        metadata={"dagster/code_references": code_reference(step.function), **_schemas(step)},
        automation_condition=step.automation(mount) if step.automation is not None else None,
        retry_policy=RETRIES,
        pool=step.pool,
        required_resource_keys={mount.resource},
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        made = _making(context, graph, step, mount)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(made.receipt.digest),
            metadata={**metadata_of(made.receipt, made.metadata), **({WAS_FRESH: True} if made.was_fresh else {})},
        )

    return asset


def as_check(graph: Graph, check: Check, mount: Mount) -> dg.AssetChecksDefinition:
    """The Dagster check: it stands alone, so it runs from the UI without its asset being made again."""
    edges = {edge.asset_key: edge for edge in _edges(graph, check, mount)}
    edges.pop(mount.asset_key(check.asset), None)

    @dg.asset_check(
        asset=mount.asset_key(check.asset),
        name=check.check_name,
        description=check.description,
        blocking=check.blocking,
        partitions_def=partitions_of(check, mount),
        additional_deps=list(edges.values()),
        metadata={"dagster/code_references": code_reference(check.function)},
        retry_policy=RETRIES,
        required_resource_keys={mount.resource},
    )
    def asset_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        made = _making(context, graph, check, mount)
        return check_result(made.receipt, made.metadata)

    return asset_check


def check_result(receipt: Receipt, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """A check's receipt as Dagster shows it."""
    severity = dg.AssetCheckSeverity.ERROR if receipt.metrics["blocking"] else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=receipt.metrics["passed"],
        severity=severity,
        description=receipt.metrics["description"],
        metadata={name: as_metadata(value) for name, value in metadata.items()},
    )


def _making(context: Any, graph: Graph, declared: Declared, mount: Mount) -> Made:
    """Make the cell of a run. Errors of ours are reported once, in their own words; only what may pass by itself is retried."""
    partition = context.partition_key if context.has_partition_key else ""
    only_stale = context.run.tags.get(ONLY_STALE) == "true"
    tag_run(context, graph, mount)
    archive = _archive_as_dagster_knows_it(context, mount)
    try:
        planner = Planner(archive, graph)
        alive = partial(require_alive, context.instance, context.run.run_id)
        return make(planner, declared, partition, run_id=context.run.run_id, only_stale=only_stale, alive=alive)
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise dg.Failure("interrupted", allow_retries=False) from interrupt  # the policy would take it for a failure
    except OSError as error:
        if is_of_hand(error):
            raise dg.Failure(in_words(error), allow_retries=False) from error
        raise
    except Exception as error:
        raise dg.Failure(in_words(error), allow_retries=False) from error


def _archive_as_dagster_knows_it(context: Any, mount: Mount) -> Archive:
    """The archive with the batches that are partitions: of one ingested a moment ago nothing was made or asked for yet.

    An instance that knows none (`dagster asset materialize` without a DAGSTER_HOME) is no reason to leave them out.
    """
    archive: Archive = getattr(context.resources, mount.resource).open()
    if PINNED in context.run.tags:  # `enrich run` made its batches partitions, and keeps to them
        return archive
    known = set(context.instance.get_dynamic_partitions(str(mount.batches.name)))
    if known & set(archive.batches):
        archive.keep_to(known)
    return archive


def partitions_of(declared: Declared, mount: Mount) -> dg.PartitionsDefinition | None:
    """Dagster's partitions of a step or check; None for one cell."""
    if declared.partitions is Partitions.NONE:
        return None
    if declared.partitions is Partitions.BATCH:
        return mount.batches
    seeds = dg.StaticPartitionsDefinition([str(seed) for seed in declared.where.task_settings.seed_list])
    if declared.partitions is Partitions.SEED:
        return seeds
    budgets = budget_keys(declared.where.task_settings, declared.where.arm)
    return dg.MultiPartitionsDefinition({"budget": dg.StaticPartitionsDefinition(budgets), "seed": seeds})


def _edges(graph: Graph, declared: Declared, mount: Mount) -> list[dg.AssetDep]:
    """The edges that follow from what is read. Of several reads of one asset, the one that says most gives the mapping."""
    mappings: dict[str, dg.PartitionMapping | None] = {}
    for read in declared.reads.values():
        if read.over is Over.ITSELF:
            continue
        for key in read.keys(declared.where):
            if key == declared.key:  # a batch reads its earlier ones: Dagster has no edge for that
                continue
            mapping = _mapping(read, declared.partitions, graph.steps[key].partitions)
            if key not in mappings or isinstance(mappings[key], dg.SpecificPartitionsPartitionMapping):
                mappings[key] = mapping
    return [dg.AssetDep(mount.asset_key(key), partition_mapping=mapping) for key, mapping in mappings.items()]


def _mapping(read: Read, downstream: Partitions, upstream: Partitions) -> dg.PartitionMapping | None:
    """How the partitions of an edge go together, as far as Dagster can say it.

    Some edges are drawn, but are never a reason to call the downstream stale: what does not count, and the parts that cells of
    a partitioned asset read of every batch (a label corrected elsewhere is no reason to train again). The planner knows more.
    """
    if upstream is Partitions.NONE:
        return None
    is_part_of_all = read.part_of is not None and read.over is Over.EVERY and downstream is not Partitions.NONE
    if not (read.counts and read.follows) or is_part_of_all:
        return dg.SpecificPartitionsPartitionMapping([])
    if read.over is Over.EVERY:
        return dg.AllPartitionMapping()
    if read.over is Over.SEED:
        return dg.MultiToSingleDimensionPartitionMapping("seed")
    return None


def _tags(step: Step) -> dict[str, str]:
    """Of which task and arm it is: the UI filters by them."""
    return {f"enrich/{name}": value for name, value in (("task", step.where.task), ("arm", step.where.arm)) if value}


def _schemas(step: Step) -> dict[str, Any]:
    return published_schemas() if step.key == "results" else {}
