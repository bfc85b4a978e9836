"""What a run says of a task that it cannot train: from the labels as they were read, and the manifests' columns."""

from __future__ import annotations

from enrich_assets.core.stages import Outlook
from enrich_assets.method.kinds import kind_of
from enrich_assets.store.receipts import Receipt
from enrich_assets.studies.manifest import label_columns


class RunFacts(Outlook):
    """The outlook of a run: what is there, and why something is not."""

    def why_unlabelled(self, task: str) -> str:
        receipts = self.planner.held("labels").values()
        unusable = [receipt for receipt in receipts if receipt.metrics.get(f"problems_{task}")]
        if unusable:
            count = sum(receipt.metrics[f"problems_{task}"] for receipt in unusable)
            why = f"none of its {count:,} labels can be used ({first_problem(self, unusable[0], task)})"
        else:
            why = f"no train frame is labelled yet{self._other_columns(task)}"
        return f"{why}, so nothing is trained; `enrich worklist {task}` says what to label first"

    def _other_columns(self, task: str) -> str:
        """The manifests' label columns, where the one that the task names is not among them."""
        archive = self.planner.archive
        settings = archive.profile.tasks[task]
        columns = sorted({c for batch in archive.pinned for c in label_columns(archive.register.rows(batch))})
        if kind_of(settings.kind).answers != "class" or settings.label in columns or not columns:
            return ""
        return (
            f" (no column {settings.label!r} in the manifests; there are {', '.join(columns)}: "
            f"set tasks.{task}.label in enrich.yaml)"
        )


def first_problem(outlook: Outlook, labels: Receipt, task: str) -> str:
    """The first label that cannot be used for a task: `item: reason`."""
    first = outlook.planner.archive.store.table(labels, f"{task}_problems").iloc[0]
    return f"{first['item']}: {first['reason']}"
