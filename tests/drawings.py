"""What a drawing says: its SVG taken apart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from emodef.paper.figures.canvas import Drawing

SVG = "{http://www.w3.org/2000/svg}"


def root_of(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.svg().encode())


def texts_of(drawing: Drawing) -> list[str]:
    return [node.text or "" for node in root_of(drawing).iter(f"{SVG}text")]
