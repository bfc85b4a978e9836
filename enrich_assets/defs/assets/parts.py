"""Parts of what the assets of a task read: the labels and frames of a subset, of the test set, of the pool. Only these count."""

from enrich_assets.archive.frames import Frames, ViewOfFrames
from enrich_assets.archive.labels import Labels, LabelsOfFrames
from enrich_assets.archive.values import Plain, Value
from enrich_assets.core.stages import Outlook
from enrich_assets.core.where import Where


def class_names(where: Where, labels: Labels) -> Plain:
    """The class names of the task."""
    return labels.classes(where.task, where.task_settings)


def labels_of_subset(where: Where, labels: Labels, subset: Value) -> LabelsOfFrames:
    """Labels of the subset's frames; others may be corrected without anything being trained again."""
    return labels.of(subset.table("subset"), where.task)


def frames_of_subset(where: Where, frames: Frames, subset: Value) -> ViewOfFrames:
    """The subset's frames, as the task's models see them."""
    return frames.of(subset.table("subset"), where.task)


def labels_of_test_set(where: Where, labels: Labels, test_set: Value) -> LabelsOfFrames:
    """Labels of the test frames."""
    return labels.of(test_set.table("test_set"), where.task)


def frames_of_test_set(where: Where, frames: Frames, test_set: Value) -> ViewOfFrames:
    """The test frames, as the task's models see them."""
    return frames.of(test_set.table("test_set"), where.task)


def no_new_class(outlook: Outlook, where: Where, batches: set[str]) -> bool:
    """Whether `class_names` stays as it is when these batches are read."""
    return not outlook.new_classes(where.task, batches)


def subset_is_elsewhere(outlook: Outlook, where: Where, batches: set[str], subset: Value) -> bool:
    """Whether no frame of the subset is of these batches."""
    return batches.isdisjoint(subset.table("subset")["batch"])


def test_set_is_elsewhere(outlook: Outlook, where: Where, batches: set[str], test_set: Value) -> bool:
    """Whether no test frame is of these batches."""
    return batches.isdisjoint(test_set.table("test_set")["batch"])


def labels_of_pool(where: Where, labels: Labels, pool: Value) -> LabelsOfFrames:
    """Labels of the pool's frames: no test frame is among them."""
    return labels.of(pool.table("pool"), where.task)


def frames_of_labels(where: Where, frames: Frames, labels: LabelsOfFrames) -> ViewOfFrames:
    """The frames that these labels are of, as the task's models see them."""
    return frames.of(labels.table, where.task)
