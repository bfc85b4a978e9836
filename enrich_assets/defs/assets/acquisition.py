"""The orders of arms that see labels: grown budget by budget, the network trained on one budget's labels choosing the next.

Labels are bought: the growth asks for those of frames it has chosen, and of no other. It trains networks of its own, of the kind
and settings of the task, because `{task}/{arm}/model` is made from the ranking: read here, it would be a cycle of assets.
"""

from collections.abc import Mapping

import numpy as np

from enrich_assets.archive.curation import Pool, Vectors
from enrich_assets.archive.frames import Frames, ViewOfFrames
from enrich_assets.archive.labels import LabelsOfFrames
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.partitions import Partitions
from enrich_assets.core.reads import Read, every, itself, part, same
from enrich_assets.core.step import CellContext, StepOutput, step
from enrich_assets.core.where import Where
from enrich_assets.defs.assets.parts import class_names, labels_of_pool, no_new_class
from enrich_assets.defs.assets.ranking import (
    budget_sizes,
    ranking_output,
    ranking_settings,
    sees_labels,
    starting_frames,
)
from enrich_assets.defs.assets.training import settings_with_length
from enrich_assets.method.kinds import kind_of
from enrich_assets.method.ranking import rule_named
from enrich_assets.store.receipts import MissingArtefact


def frames_of_pool(where: Where, frames: Frames, pool: Pool) -> ViewOfFrames:
    """The frames of the pool, as the task's models see them."""
    return frames.of(pool.frames, where.task)


def acquisition_reads(where: Where) -> Mapping[str, Read]:
    """The pool with its frames and labels; vectors only to say how well the chosen cover the rest."""
    own = where.profile.default_embedding
    length = {"length": same("{task}/training_length")} if where.task_settings.searches_length else {}
    return {
        "pool": every("{task}/pool"),
        "frames": part(every("frames"), frames_of_pool, of=("pool",)),
        "labels": part(every("labels"), labels_of_pool, of=("pool",)),
        "classes": part(every("labels"), class_names, stays=no_new_class, of_receipts=True),
        "vectors": every(f"embeddings/{own}"),
        "panels": every(f"{{task}}/similarity/{own}", counts=False),
        "before": itself("{task}/{arm}/ranking"),
        **length,
    }


@step(
    "{task}/{arm}/ranking",
    Partitions.SEED,
    reads=acquisition_reads,
    settings=lambda where: {
        **ranking_settings(where),
        "kind": where.task_settings.kind,
        "training": where.task_settings.model_settings,
    },
    description=lambda where: (
        f"{where.task}, arm {where.arm}: the order in which frames would be labelled, by {where.arm_settings.rule} of networks trained on the "
        "labels bought before. It sees labels."
    ),
    only=lambda where: sees_labels(where.arm_settings),
    kinds=("pytorch",),
    pool="gpu",
)
def label_aware_ranking(
    cell: CellContext,
    pool: Pool,
    frames: ViewOfFrames,
    labels: LabelsOfFrames,
    classes: Plain,
    vectors: Vectors,
    panels: Value,
    before: Value,
    length: Value | None = None,
) -> StepOutput:
    """The order in which frames would be labelled, each budget's by a network trained on the labels of the one before."""
    from enrich_assets.method.ranking import Ranking, acquisition, random_order
    from enrich_assets.method.ranking.order import similarity_to_earlier

    rule, seed = rule_named(cell.settings["arm"].rule), int(cell.partition)
    assert isinstance(rule, acquisition.LabelAwareRule)
    start, kept = starting_frames(cell, pool, before)
    affordable = budget_sizes(cell.where, len(pool))[1]
    bought = _Bought(cell, pool, frames, labels, tuple(classes.value))
    order = acquisition.grow(
        rule,
        acquisition.Purchases(
            images=bought.images,
            labels=bought.answers,
            size=len(pool),
            n_classes=len(classes.value),
            learner=kind_of(cell.settings["kind"]),
            settings=settings_with_length(cell.where, length),
            device=cell.device,
        ),
        start,
        affordable,
        seed=seed,
        progress=lambda n: cell.progress(f"training on {n:,} labels to choose the next", "epochs"),
        resume=cell.checkpoint(),
        save=cell.save_checkpoint,
    )
    by_chance = random_order(pool.ids, seed)
    order = np.concatenate([order, by_chance[~np.isin(by_chance, order)]])  # beyond the greatest budget nobody chooses
    of_pool = vectors.of(pool.frames)
    ranking = Ranking(order, similarity_to_earlier(of_pool, order, len(start)))
    output = ranking_output(cell, pool, of_pool, ranking, start, kept=kept)
    output.metrics |= {
        "trained_on": acquisition.trainings(len(start), affordable),
        "labels_seen": int(bought.seen.sum()),
    }
    return output


class _Bought:
    """Labels as they are bought, and which were."""

    def __init__(
        self, cell: CellContext, pool: Pool, frames: ViewOfFrames, labels: LabelsOfFrames, classes: tuple[str, ...]
    ) -> None:
        if len(classes) < 2:
            raise MissingArtefact(f"{cell.cell}: only {len(classes)} class among the labels; a model needs two")
        self.cell, self.pool, self.frames, self.labels, self.classes = cell, pool, frames, labels, classes
        self.seen = np.zeros(len(pool), bool)

    def images(self, positions: np.ndarray) -> np.ndarray:
        """(n, side, side) uint8 pixels of frames of the pool."""
        return self.frames.pixels(self.frames.table.iloc[positions])

    def answers(self, positions: np.ndarray) -> np.ndarray:
        """What a network learns of these frames. Raises MissingArtefact where one has no label."""
        wanted = self.pool.frames.iloc[positions]
        of_these = self.labels.labels.of(wanted, self.cell.where.task)
        if len(of_these.table) < len(wanted):
            missing = sorted(set(wanted["frame_id"]) - set(of_these.table["frame_id"]))
            raise MissingArtefact(
                f"{self.cell.cell}: {len(missing)} of {len(wanted)} frames have no label (first: {missing[0]}); import their "
                f"labels: `enrich labels import FILE --task {self.cell.where.task}`"
            )
        self.seen[positions] = True
        return of_these.answers(self.cell.where.task_settings, self.classes)
