from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.data.near_duplicates import near_duplicates


def words(seed: int, count: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(10_000)}" for _ in range(count))


def test_copies_in_other_case_or_punctuation_repeat_the_first() -> None:
    assert near_duplicates(["A saying, it is.", "Other words here", "a SAYING it is"]) == [
        None,
        None,
        0,
    ]


def test_a_changed_word_leaves_a_repetition_and_other_text_is_kept() -> None:
    text = words(1, 60).split()
    changed = [*text[:30], "changed", *text[31:]]
    assert near_duplicates([" ".join(text), words(2, 60), " ".join(changed)]) == [None, None, 0]


def test_a_part_repeats_the_whole_and_the_whole_a_part() -> None:
    whole = words(3, 200)
    part = " ".join(whole.split()[50:100])
    assert near_duplicates([whole, part]) == [None, 0]
    assert near_duplicates([part, whole]) == [None, 0]


def test_the_threshold_is_the_share_of_the_shorter_text() -> None:
    # 24 words make 20 shingles; the first 12 words of the other give 8 of them.
    first = words(4, 24)
    second = " ".join([*first.split()[:12], *words(5, 12).split()])
    assert near_duplicates([first, second], containment=0.40) == [None, 0]
    assert near_duplicates([first, second], containment=0.41) == [None, None]


def test_a_repetition_of_something_removed_still_counts_against_what_was_kept() -> None:
    text = words(6, 50)
    assert near_duplicates([text, text, text]) == [None, 0, 0]


def test_a_phrase_that_everyone_uses_makes_no_repetition() -> None:
    phrase = "in case of doubt ask the owner of the thing"
    texts = [f"{phrase} {words(10 + k, 60)}" for k in range(20)]
    assert near_duplicates(texts) == [None] * 20


def test_nothing_and_empty_texts() -> None:
    assert near_duplicates([]) == []
    assert near_duplicates(["one two three four five six"]) == [None]
    assert near_duplicates(["", "  ", "x"]) == [None, 0, None]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet="ab ", min_size=0, max_size=30), max_size=12))
def test_repetitions_point_to_earlier_kept_texts_and_kept_texts_stay_kept(texts: list[str]) -> None:
    repeats = near_duplicates(texts)
    for number, of in enumerate(repeats):
        if of is not None:
            assert of < number
            assert repeats[of] is None
    kept = [text for text, of in zip(texts, repeats, strict=True) if of is None]
    assert near_duplicates(kept) == [None] * len(kept)
