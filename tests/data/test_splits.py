from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stillwired.data.document import Document
from stillwired.data.splits import CYCLE, SPLITS, assign_splits


def documents(counts: dict[str, int]) -> list[Document]:
    return [Document(f"{d}/{k}", d, "text") for d, n in counts.items() for k in range(n)]


def test_shares_are_seventy_five_and_twenty_five_percent_in_every_domain() -> None:
    made = documents({"a": 200, "b": 60})
    splits = assign_splits(made)
    for domain, count in (("a", 200), ("b", 60)):
        shares = Counter(splits[d.id] for d in made if d.domain == domain)
        assert shares == {"fit": 0.7 * count, "choose": 0.05 * count, "judge": 0.25 * count}


@given(st.integers(CYCLE, 400))
def test_every_split_occurs_and_the_judged_share_is_close(count: int) -> None:
    shares = Counter(assign_splits(documents({"a": count})).values())
    assert set(shares) == set(SPLITS)
    assert abs(shares["judge"] - count / 4) <= 1.5
    assert abs(shares["choose"] - count / 20) <= 1


def test_the_order_of_the_documents_and_other_domains_do_not_matter() -> None:
    made = documents({"a": 90, "b": 40})
    shuffled = random.Random(0).sample(made, len(made))
    assert assign_splits(made) == assign_splits(shuffled)
    alone = assign_splits([d for d in made if d.domain == "a"])
    assert alone == {key: value for key, value in assign_splits(made).items() if key in alone}


def test_neighbours_are_not_dealt_out_in_reading_order() -> None:
    splits = assign_splits(documents({"a": 400}))
    judged = [k for k in range(400) if splits[f"a/{k}"] == "judge"]
    gaps = {after - before for before, after in pairwise(judged)}
    assert len(gaps) > 5
