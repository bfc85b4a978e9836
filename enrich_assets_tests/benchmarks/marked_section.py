"""BENCHMARKS.md has a section per command; each command rewrites its own, between two marks, and leaves the rest."""

import re
from pathlib import Path


def write_section(name: str, text: str, path: Path) -> None:
    """Replace the section of that name, or add it at the end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    section = f"{begin}\n{text.strip()}\n{end}"
    new = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: section, old, flags=re.S)
    path.write_text(new if begin in old else f"{old.rstrip()}\n\n{section}\n")
