from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.errors import UsageError
from stillwired.shards import Place, Shard, deal, read_costs

ROOT = Path(__file__).parent.parent


def files_of(folder, *names):
    return [folder / f"test_{name}.py" for name in names]


def by_shard(places, shards):
    hands = defaultdict(set)
    for place, number in zip(places, deal(places, shards), strict=True):
        hands[number].add(place)
    return hands


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="--claims-shard"):
        Shard.parse(text)


def test_a_shard_is_read_as_it_is_written():
    assert Shard.parse("2/4") == Shard(2, 4)
    assert str(Shard.parse("2/4")) == "2/4"


CASES = st.lists(
    st.tuples(st.sampled_from([None, "m", "n"]), st.sampled_from("ab"), st.sampled_from("uvwxyz")),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(cases=CASES, shards=st.integers(1, 6))
def test_every_test_has_one_shard_and_no_shard_goes_without(cases, shards):
    places = [Place(spec, Path("/nowhere", folder, f"test_{n}.py")) for spec, folder, n in cases]
    if len(set(places)) < shards:
        with pytest.raises(UsageError, match=f"at most {len(set(places))}"):
            deal(places, shards)
        return
    numbers = deal(places, shards)
    assert set(numbers) == set(range(1, shards + 1))
    # The tests of a file on one checkpoint stay together.
    assert len(set(zip(places, numbers, strict=True))) == len(set(places))


@settings(deadline=None)
@given(cases=CASES, data=st.data())
def test_the_order_of_collection_changes_nothing(cases, data):
    places = [Place(spec, Path("/nowhere", folder, f"test_{n}.py")) for spec, folder, n in cases]
    shards = min(3, len(set(places)))
    dealt = dict(zip(places, deal(places, shards), strict=True))
    mixed = data.draw(st.permutations(places))
    assert dict(zip(mixed, deal(mixed, shards), strict=True)) == dealt


def test_checkpoints_and_folders_stay_together_before_files_do(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    files = files_of(one, *"abcd") + files_of(two, *"abcd")
    places = [Place(spec, file) for spec in ("m", "n") for file in files]
    assert by_shard(places, 1)[1] == set(places)
    halves = by_shard(places, 2)
    assert {len({(p.spec, p.file.parent) for p in hand}) for hand in halves.values()} == {2}
    quarters = by_shard(places, 4)
    assert {len({(p.spec, p.file.parent) for p in hand}) for hand in quarters.values()} == {1}
    # Only then is a folder parted, evenly.
    assert sorted(map(len, by_shard(places, 8).values())) == [2] * 8


def declared(folder, text):
    (folder / "costs.toml").write_text(text)
    return folder


def test_files_that_share_a_dear_reading_are_not_parted_for_a_cheap_gain(tmp_path):
    declared(
        tmp_path,
        """
        [readings]
        text = 100
        [files]
        "a/test_u.py" = { seconds = 10, needs = ["text"] }
        "a/test_v.py" = { seconds = 10, needs = ["text"] }
        "b/test_w.py" = { seconds = 10, needs = ["text"] }
        "b/test_x.py" = { seconds = 110 }
        """,
    )
    sharing = [*files_of(tmp_path / "a", "u", "v"), *files_of(tmp_path / "b", "w")]
    alone = files_of(tmp_path / "b", "x")
    hands = by_shard([Place("m", file) for file in sharing + alone], 2)
    assert sorted(hands.values(), key=len) == [
        {Place("m", file) for file in alone},
        {Place("m", file) for file in sharing},
    ]
    # Another checkpoint shares no reading.
    places = [Place(spec, file) for file in sharing for spec in ("m", "n")]
    assert {frozenset(p.spec for p in hand) for hand in by_shard(places, 2).values()} == {
        frozenset("m"),
        frozenset("n"),
    }


def test_files_are_parted_where_that_shortens_the_longest_shard(tmp_path):
    declared(
        tmp_path,
        """
        [readings]
        text = 10
        [files]
        "test_u.py" = { seconds = 60, needs = ["text"] }
        "test_v.py" = { seconds = 60, needs = ["text"] }
        "test_w.py" = { seconds = 5 }
        """,
    )
    places = [Place("m", file) for file in files_of(tmp_path, "u", "v", "w")]
    hands = by_shard(places, 2)
    assert sorted(map(len, hands.values())) == [1, 2]
    assert not any({*places[:2]} <= hand for hand in hands.values())


@pytest.mark.parametrize(
    "text",
    [
        "readings = 3",
        "[readings]\ntext = -1",
        "[readings]\ntext = true",
        '[files]\n"test_u.py" = 5',
        '[files]\n"test_u.py" = { needs = [] }',
        '[files]\n"test_u.py" = { seconds = 5, needs = ["text"] }',
        "not toml",
    ],
)
def test_costs_of_another_form_are_refused(text, tmp_path):
    declared(tmp_path, text)
    places = [Place("m", file) for file in files_of(tmp_path, "u")]
    with pytest.raises(UsageError, match=r"costs\.toml declares .* cannot be read"):
        deal(places, 1)


def test_what_the_claims_cost_is_declared_for_each_file_of_them():
    costs = read_costs(ROOT / "claims" / "costs.toml")
    files = {p.relative_to(costs.folder).as_posix() for p in costs.folder.rglob("test_*.py")}
    assert set(costs.files) == files
    needed = {need for _, needs in costs.files.values() for need in needs}
    assert needed == set(costs.readings)
