"""The published value as a number, where a claim's text gives one for exactly this cell.

Published values are written for people: ``0.292 against 0.201 (GPT-J-6B, N=1)``. Only what can
be read in one way is read; anything else is quoted and marked nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stillwired.judge.claims import Claim
from stillwired.judge.expectations import Difference, Level

_NUMBER = r"[-−]?\d+(?:\.\d+)?"
_ALONE = re.compile(_NUMBER)
_PAIR = re.compile(rf"({_NUMBER}) against ({_NUMBER})")
_REMARKS = re.compile(r"\s*\(([^()]*)\)$")
_MODEL = re.compile(r"[A-Z][\w.]*(?:-[\w.]+)*-\d+(?:\.\d+)?[BM]")
_AHEAD = re.compile(r"N ?= ?(\d+)")


def published_value(claim: Claim, params: Mapping[str, Any]) -> float | None:
    """Return the published value of a cell's only quantity; None if the text is not that plain.

    Read are ``0.201`` for a level and ``0.292 against 0.201`` for a difference, with remarks in
    brackets that name a model and an N, of a claim with one expectation. A cell at another N, or
    at parameters that neither the remarks nor the primary cell name, has none.
    """
    if len(claim.expects) != 1:
        return None
    (expectation,) = claim.expects
    text, remarks = claim.published.strip(), ""
    found = _REMARKS.search(text)
    if found is not None:
        text, remarks = text[: found.start()], found.group(1)
    told: dict[str, Any] = {}
    for remark in filter(None, map(str.strip, remarks.split(","))):
        ahead = _AHEAD.fullmatch(remark)
        if ahead is not None:
            told["ahead"] = int(ahead.group(1))
        elif not _MODEL.fullmatch(remark):
            return None
    known = {**claim.primary, **told}
    if any(key not in known or known[key] != value for key, value in params.items()):
        return None
    pair = _PAIR.fullmatch(text)
    if isinstance(expectation, Difference) and pair is not None:
        return round(_number(pair.group(1)) - _number(pair.group(2)), 12)
    if isinstance(expectation, Level) and _ALONE.fullmatch(text):
        return _number(text)
    return None


def _number(text: str) -> float:
    return float(text.replace("−", "-"))
