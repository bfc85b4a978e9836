"""A label file is somebody else's: XML that unpacks itself, or asks for another file, is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_assets.studies.errors import UnreadableFile
from enrich_assets.studies.labels.reading import _read

NESTED = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
DOCUMENTS = {
    "entities within entities": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "x">{NESTED}]><annotations>&e9;</annotations>',
    "another file": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><annotations>&e;</annotations>',
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_xml_that_declares_entities_is_refused(tmp_path: Path, document: str) -> None:
    file = tmp_path / "annotations.xml"
    file.write_text(document)
    with pytest.raises(UnreadableFile, match=r"annotations\.xml: declares entities"):
        _read(str(file))
