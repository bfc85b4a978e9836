"""In which order what is stale is made: stage by stage, in groups of cells of one partition that go into one Dagster run.

The same stages are walked by `enrich run`, which looks again before each group, and by `enrich plan`, which foresees what the groups
before would change (`Outlook.pending`). What is left out, and why, is noted in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from enrich_assets.core.keys import (
    BATCH_ASSETS,
    EMBEDDING_HEALTH,
    GRID_ASSETS,
    VAE_WEIGHTS,
    archive_assets,
    fitted_assets,
    length_asset,
    similarity_assets,
    summary_assets,
)
from enrich_assets.core.partitions import cell_keys
from enrich_assets.core.planner import Planner, State, Verdict
from enrich_assets.core.reads import Read
from enrich_assets.core.step import Check, Declared, Step
from enrich_assets.core.where import arms_of
from enrich_assets.settings import budget_frames
from enrich_assets.store.receipts import NOT_MADE_YET, Cell, DamagedStore

DECODING, VAE, FITTING, SIMILARITY, REDUNDANCY = "decoding", "vae", "fitting", "similarity", "redundancy"
HEALTH = "health"
RANKING, LENGTH, TRAINING, CONCLUSIONS = "ranking", "training length", "training", "conclusions"


@dataclass(frozen=True)
class Goal:
    """How much of the graph is asked for.

    Parameters
    ----------
    task, arm
        The one to rank and train; None: all of them. Other stages are not narrowed down.
    train
        False: rankings and the training grid are left as they are.
    """

    task: str | None = None
    arm: str | None = None
    train: bool = True


@dataclass(frozen=True)
class Group:
    """Steps and checks of one partition, in order: one Dagster run, because starting a run costs more than a step."""

    stage: str
    members: tuple[Declared, ...]
    partition: str = ""
    task: str = ""


@dataclass
class Stage:
    """Groups that do not wait for one another."""

    name: str
    groups: list[Group]
    side_by_side: bool = False  # whether they are worth a process each
    at_once: bool = False  # whether machines may make them at the same time: none reads what another makes
    at_home: bool = False  # whether they are small, read source files or write into home: no other machine is asked


Work = list[tuple[Declared, Verdict]]


@dataclass
class Outlook:
    """What is there, and what the groups before are about to make. A run has nothing pending.

    Parameters
    ----------
    planner
        Says what is there.
    pending
        Cells about to be made -> why.
    notes
        Sentences for the user, each once, in order.
    blocked
        What cannot be made at all -> why.
    """

    planner: Planner
    pending: dict[Cell, str] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)  # sentences, each once, in order
    blocked: dict[str, str] = field(default_factory=dict)  # what cannot be made at all -> why

    def note(self, sentence: str) -> None:
        """Keep a sentence for the user."""
        self.notes.setdefault(sentence)

    # facts on which it depends what is asked for; `running.forecast` overrides them with estimates

    def pool_size(self, task: str) -> int:
        """Frames in the pool of a task."""
        return sum(receipt.metrics["frames"] for receipt in self.planner.held(f"{task}/pool").values())

    def n_labelled(self, task: str) -> int:
        """Frames in the pool that carry a label."""
        return sum(receipt.metrics["labelled"] for receipt in self.planner.held(f"{task}/pool").values())

    def has_labels(self, task: str) -> bool:
        """Whether any frame at all carries a label of the task."""
        return any(r.metrics.get(f"labelled_{task}", 0) for r in self.planner.held("label_presence").values())

    def will_have_labels(self, task: str) -> bool:
        """The same, once what is pending is made."""
        return self.has_labels(task)

    def new_classes(self, task: str, batches: set[str]) -> bool:
        """Whether these batches, about to be read, may bring classes that the task did not have."""
        return False

    def why_not_trainable(self, task: str) -> str | None:
        """Why no model of the task could be scored, whatever it is trained on; None if it can."""
        test_set = self.planner.graph.steps[f"{task}/test_set"]
        receipt = self.planner.receipts.current(test_set.cell())
        if receipt is None:
            return self.planner.verdict(test_set).why or "its test set has not been made yet"
        try:
            self.planner.require_sound(test_set.cell(), receipt)
        except LookupError as unsound:
            return str(receipt.metrics["why_not_scorable"] or unsound)
        return None

    def is_evaluated(self, task: str) -> bool:
        """Whether anything of the task has been scored."""
        arms = arms_of(self.planner.archive.profile.tasks[task])
        return any(self.planner.held(f"{task}/{arm}/evaluation") for arm in arms)

    def why_unlabelled(self, task: str) -> str:
        """Why there is nothing to train from, and what to do."""
        return (
            f"no train frame is labelled yet, so nothing is trained; `enrich worklist {task}` says what to label first"
        )

    # what is to be made

    def look(self, group: Group) -> tuple[Work, Work]:
        """What of a group is to be made, and what is blocked.

        A member after one to be made counts as to be made; whoever makes it looks again once that one stands.

        Returns
        -------
        needed, blocked : list of (Declared, Verdict)
            In the order of the group.
        """
        needed: Work = []
        blocked: Work = []
        ahead: set[str] = set()  # keys of the members to be made before
        for declared in group.members:
            verdict = self.verdict(declared, group.partition, ahead)
            if verdict.is_stale:
                needed.append((declared, verdict))
                if not verdict.keeps:
                    ahead.add(declared.key)
            elif verdict.is_blocked:
                blocked.append((declared, verdict))
        return needed, blocked

    def work(self, group: Group) -> Work:
        """Members of the group to be made."""
        return self.look(group)[0]

    def verdict(self, declared: Declared, partition: str, ahead: set[str] | frozenset[str] = frozenset()) -> Verdict:
        """The planner's verdict, with what is pending taken as if it were about to change.

        Parameters
        ----------
        declared, partition
            The cell.
        ahead
            Keys of the members of its group that are to be made before it.
        """
        causes, kept = self._causes(declared, partition, ahead)
        if causes:
            stale = Verdict(State.STALE, f"follows from {causes[0]}", keeps=self._outlives(declared, partition))
            return self._blocked(declared, partition, ahead) or stale
        verdict = self.planner.verdict(declared, partition, kept)
        if verdict.is_blocked and verdict.cause is not None and self._is_ahead(verdict.cause, ahead):
            return Verdict(State.STALE, f"waits for {verdict.cause}")
        return verdict

    def _causes(
        self, declared: Declared, partition: str, ahead: set[str] | frozenset[str]
    ) -> tuple[list[Cell], list[str]]:
        """Cells that it reads, that count (or are needed the first time), and that are about to be made.

        Beside them, names of the parts that stay as they are though the whole is about to change.
        """
        is_new = self.planner.receipts.current(declared.cell(partition)) is None
        causes: list[Cell] = []
        kept: list[str] = []
        for name, read in declared.reads.items():
            if not (read.counts or is_new) or (read.optional and not read.counts):
                continue
            changing = self._changing(declared, read, partition, ahead)
            if changing and not is_new and self._stays(declared, read, partition, ahead, changing):
                kept.append(name)
            else:
                causes += changing
        return causes, kept

    def _changing(self, declared: Declared, read: Read, partition: str, ahead: set[str] | frozenset[str]) -> list[Cell]:
        """Cells of a read that are about to be made."""
        if not (ahead or self.pending):
            return []
        cells = self.planner.cells_read(declared, read, partition)
        return [c for c in cells if self._is_ahead(c, ahead if c.partition in (partition, "") else frozenset())]

    def _stays(
        self,
        declared: Declared,
        read: Read,
        partition: str,
        ahead: set[str] | frozenset[str],
        changing: list[Cell],
    ) -> bool:
        """Whether the part that is read is known to stay as it is, though these cells change."""
        if read.stays is None or any(
            self._changing(declared, declared.reads[name], partition, ahead) for name in read.of
        ):
            return False
        try:
            others = [self.planner.value(declared, name, partition) for name in read.of]
            return read.stays(self, declared.where, {cell.partition for cell in changing}, *others)
        except (LookupError, DamagedStore):
            return False

    def _blocked(self, declared: Declared, partition: str, ahead: set[str] | frozenset[str]) -> Verdict | None:
        """Blocked, if something it needs is neither there, nor sound, nor about to be made."""
        for read in declared.reads.values():
            for cell in self.planner.cells_read(declared, read, partition) if not read.optional else ():
                if self._is_ahead(cell, ahead if cell.partition in (partition, "") else frozenset()):
                    continue
                receipt = self.planner.receipts.current(cell)
                if receipt is None:
                    return Verdict(State.BLOCKED, f"{cell} {NOT_MADE_YET}", cell)
                if not isinstance(declared, Check):
                    try:
                        self.planner.require_sound(cell, receipt)
                    except LookupError as unsound:
                        return Verdict(State.BLOCKED, str(unsound))
        return None

    def _is_ahead(self, cell: Cell, ahead: set[str] | frozenset[str]) -> bool:
        return cell in self.pending or cell.asset in ahead

    def _outlives(self, declared: Declared, partition: str) -> bool:
        return (
            isinstance(declared, Step)
            and declared.outlives is not None
            and declared.outlives(self, declared.cell(partition))
        )


def stages(outlook: Outlook, goal: Goal) -> Iterator[Stage]:
    """Stage by stage, everything that a goal asks for.

    What a stage holds is decided only when the one before it stands (or is pending): take them one at a time.

    Parameters
    ----------
    outlook
        What is there; gets the notes, and what is blocked.
    goal
        How much is asked for.

    Yields
    ------
    Stage
        Groups of cells, stale or not; some stages have none.
    """
    planner = outlook.planner
    for stage in _stages(outlook, goal):
        members = ((declared, group.partition) for group in stage.groups for declared in group.members)
        planner.receipts.expect(planner.cells_around(members))
        yield stage


def _stages(outlook: Outlook, goal: Goal) -> Iterator[Stage]:
    planner, profile = outlook.planner, outlook.planner.archive.profile
    batches = planner.archive.batches
    yield Stage(DECODING, batch_groups(planner, DECODING, BATCH_ASSETS, batches), at_home=True)
    fitted = fitted_assets(profile)
    yield Stage(VAE, [_group(planner, VAE, [key]) for key in fitted if key == VAE_WEIGHTS])
    further = [_group(planner, FITTING, [key]) for key in fitted if key != VAE_WEIGHTS]
    yield Stage(FITTING, further, at_once=True)
    yield Stage(SIMILARITY, batch_groups(planner, SIMILARITY, similarity_assets(profile), batches))
    yield Stage(HEALTH, [_group(planner, HEALTH, [EMBEDDING_HEALTH])], at_home=True)
    tasks = [task for task in profile.tasks if _has_pool(outlook, task)]
    of_tasks = [_group(planner, REDUNDANCY, summary_assets(profile, task), task=task) for task in tasks]
    of_archive = [_group(planner, REDUNDANCY, archive_assets(profile))] if batches else []
    yield Stage(REDUNDANCY, [*of_archive, *of_tasks], at_home=True)
    trained = [task for task in tasks if goal.train and goal.task in (None, task) and _is_trainable(outlook, task)]
    searching = [task for task in trained if profile.tasks[task].searches_length]
    lengths = [_group(planner, LENGTH, [length_asset(task)], task=task) for task in searching]
    yield Stage(LENGTH, lengths, side_by_side=True, at_once=True)
    rankings = [group for task in trained for group in ranking_groups(planner, task, goal)]
    yield Stage(RANKING, rankings, at_once=True)
    cells = [group for task in trained for group in training_groups(outlook, task, goal)]
    yield Stage(TRAINING, cells, side_by_side=True, at_once=True)
    yield Stage(CONCLUSIONS, [conclusion_group(outlook, tasks)], at_home=True)


def batch_groups(planner: Planner, stage: str, assets: Sequence[str], batches: Sequence[str]) -> list[Group]:
    """A run per batch, of these assets and their checks."""
    return [_group(planner, stage, assets, batch) for batch in batches]


def ranking_groups(planner: Planner, task: str, goal: Goal) -> list[Group]:
    """A run per seed, all arms together."""
    settings = planner.archive.profile.tasks[task]
    keys = [f"{task}/{arm}/ranking" for arm in _arms(planner, task, goal)]
    return [_group(planner, RANKING, keys, str(seed), task) for seed in settings.seed_list]


def training_groups(outlook: Outlook, task: str, goal: Goal) -> list[Group]:
    """A run per cell of the grid, all arms that share the grid together; the cheapest budgets first.

    Budgets beyond the pool are left out, and those that come to as many frames as an earlier one; both are noted.
    """
    planner = outlook.planner
    settings = planner.archive.profile.tasks[task]
    left_out = _left_out_budgets(outlook, task)
    arms: dict[str, list[str]] = {}
    for arm in _arms(planner, task, goal):
        for key in cell_keys(settings, arm):
            if key.partition("|")[0] not in left_out:
                arms.setdefault(key, []).append(arm)
    return [
        _group(planner, TRAINING, [f"{task}/{arm}/{asset}" for arm in members for asset in GRID_ASSETS], key, task)
        for key, members in arms.items()
    ]


def conclusion_group(outlook: Outlook, tasks: Sequence[str]) -> Group:
    """Comparisons of the tasks that have something evaluated, worklists, and what is published."""
    compared = [task for task in tasks if outlook.is_evaluated(task)]
    keys = [
        f"{task}/{asset}"
        for task in tasks
        for asset in ("comparison", "worklist")
        if asset != "comparison" or task in compared
    ]
    sites = [key for key in ("sites",) if key in outlook.planner.graph.steps]
    return _group(outlook.planner, CONCLUSIONS, [*sites, *keys, "results", "report"])


def _group(planner: Planner, stage: str, keys: Sequence[str], partition: str = "", task: str = "") -> Group:
    return Group(stage, tuple(planner.graph.with_checks(keys)), partition, task)


def _arms(planner: Planner, task: str, goal: Goal) -> list[str]:
    return [arm for arm in arms_of(planner.archive.profile.tasks[task]) if goal.arm in (None, arm)]


def _has_pool(outlook: Outlook, task: str) -> bool:
    size = outlook.pool_size(task)
    if size < 2:
        outlook.note(f"{task}: {size} frames in the pool, nothing to curate; this task is left out")
    return size >= 2


def _is_trainable(outlook: Outlook, task: str) -> bool:
    if not outlook.n_labelled(task):
        outlook.note(f"{task}: {outlook.why_unlabelled(task)}")
        return False
    why = outlook.why_not_trainable(task)
    if why is not None:
        outlook.blocked[f"models of {task}"] = why
    return why is None


def _left_out_budgets(outlook: Outlook, task: str) -> set[str]:
    pool, budgets = outlook.pool_size(task), outlook.planner.archive.profile.tasks[task].budgets
    sizes = {key: budget_frames(key, pool) for key in budgets}
    beyond = [key for key in budgets if sizes[key] > pool]
    repeated = [key for i, key in enumerate(budgets) if sizes[key] in {sizes[k] for k in budgets[:i]}]
    if beyond:
        outlook.note(f"{task}: budgets {', '.join(beyond)} are more than the pool's {pool:,} frames and are left out")
    if repeated:
        outlook.note(f"{task}: budgets {', '.join(repeated)} come to as many frames as another one and are left out")
    return {*beyond, *repeated}
