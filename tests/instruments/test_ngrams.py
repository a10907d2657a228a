from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stillwired.instruments.ngrams import count_followers

texts = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=12), min_size=1, max_size=8)


def followers_by_hand(documents, distance):
    counts, overall = {}, {}
    for tokens in documents:
        for before, after in zip(tokens, tokens[distance:], strict=False):
            counts.setdefault(before, {}).setdefault(after, 0)
            counts[before][after] += 1
            overall[after] = overall.get(after, 0) + 1
    return counts, overall


@given(texts, st.integers(1, 3))
def test_followers_are_the_most_frequent_ones(documents, distance):
    counts, overall = followers_by_hand(documents, distance)
    if not counts:
        return
    table = count_followers(documents, 8, [distance])[distance]
    best_overall = min(overall, key=lambda token: (-overall[token], token))
    for token in range(8):
        if token not in counts:
            assert table.followers[token] == best_overall
            assert not table.seen[token]
            continue
        seen = counts[token]
        expected = min(seen, key=lambda after: (-seen[after], -overall[after], after))
        assert table.followers[token] == expected
        assert table.seen[token]


@given(texts)
def test_the_order_of_documents_does_not_matter(documents):
    if not any(len(tokens) > 1 for tokens in documents):
        return
    forwards = count_followers(documents, 8, [1])[1]
    backwards = count_followers(documents[::-1], 8, [1])[1]
    assert np.array_equal(forwards.followers, backwards.followers)


def test_pairs_do_not_reach_across_documents():
    table = count_followers([[1, 2], [3, 4]], 8, [1])[1]
    assert not table.seen[2]


def test_guess_looks_up_the_follower():
    table = count_followers([[5, 6, 5, 6, 5, 7]], 8, [1])[1]
    assert table.guess(np.array([5, 6])).tolist() == [6, 5]


def test_shuffled_followers_keep_their_frequencies_but_not_their_places():
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 50, 4_000).tolist()
    table = count_followers([tokens], 50, [1])[1]
    shuffled = table.shuffled(np.random.default_rng(1))
    assert np.array_equal(np.sort(shuffled.followers), np.sort(table.followers))
    assert np.mean(shuffled.followers == table.followers) < 0.3
