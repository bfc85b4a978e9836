"""The built-in phantom archive: a fetal heart drawn, scanned by a simulated probe, and written as a department's files.

The door of the room. From the bottom up: `outlines`, `build` (a patient's body), `heart`, `anatomy` (whole sections),
`ultrasound` (the scanner), `files` (formats), `plan` (who, which clips), `drawing` (a clip's frames), `archive`.
"""

from enrich_assets.studies.phantom.archive import write_phantom

__all__ = ["write_phantom"]
