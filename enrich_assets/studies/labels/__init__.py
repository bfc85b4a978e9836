"""Labels from the annotation tools, and worklists to them. The door of the room."""

from enrich_assets.studies.labels.formats.statement import SKIPPED, Answers
from enrich_assets.studies.labels.reading import LabelImport, read_labels
from enrich_assets.studies.labels.worklist_export import export_worklist

__all__ = ["SKIPPED", "Answers", "LabelImport", "export_worklist", "read_labels"]
