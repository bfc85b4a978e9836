"""Frames on one self-contained page: what they are, and each with its picture, patient and label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined


@dataclass(frozen=True)
class FrameEntry:
    """A frame on the page; `uri` is a data URI of its picture, None where there is none, `label` '' where none is known."""

    position: int
    frame_id: str
    patient_id: str
    label: str
    uri: str | None


def frames_page(title: str, facts: Mapping[str, str], notes: Sequence[str], entries: Sequence[FrameEntry]) -> str:
    """One HTML text without anything from elsewhere.

    Parameters
    ----------
    title : str
    facts : mapping of str to str
        Listed behind a fold.
    notes : sequence of str
        Sentences under the title.
    entries : sequence of FrameEntry
        In their order.
    """
    folder = resources.files("enrich_assets.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(folder.joinpath("frames_page.html").read_text(encoding="utf-8"))
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    labels = sorted({entry.label for entry in entries if entry.label})
    patients = len({entry.patient_id for entry in entries})
    return template.render(
        title=title, facts=facts, notes=notes, entries=entries, style=style, labels=labels, patients=patients
    )
