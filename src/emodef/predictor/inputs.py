"""Whatever users give as texts, as a checked list. Imports numpy, encoding, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from emodef.encoding import check_texts
from emodef.errors import DataError

Texts = str | Iterable[str]


def listed(texts: Texts) -> list[str]:
    """The texts of a list, an array, a column of a table, a generator; or one text, as a list of one.

    Raises DataError where it is none of these, or holds something that is no text, which it names by its number.
    """
    if isinstance(texts, str):
        listed = [texts]
    elif isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise DataError("a table where texts are expected: give one column of it, as in table['text']")
    elif isinstance(texts, (bytes, bytearray, memoryview)):
        raise DataError("bytes where text is expected: decode them first, as in data.decode('utf-8')")
    else:
        try:
            listed = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
        except TypeError:
            raise DataError(
                f"{type(texts).__name__} where texts are expected: give a text or a list of texts"
            ) from None
        if not isinstance(listed, list):  # an array of no dimension
            listed = [listed]
    check_texts(listed)
    return listed
