from __future__ import annotations

import calendar
import json
import re
import string
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stillwired.data.splits import SPLITS
from stillwired.data.task_prompts import (
    FORMATS,
    PLACE_FRAMES,
    WORD_FRAMES,
    frames,
    in_frame,
    prompt,
    shuffle_labels,
)
from stillwired.data.tasks import KINDS, Row, Task, load_task_folder, load_tasks, split
from stillwired.errors import CorpusError

ROOT = Path(__file__).parents[2]
TASKS = load_tasks()
REPRESENTATIVE = (
    "antonym",
    "capitalize",
    "country-capital",
    "english-french",
    "present-past",
    "singular-plural",
)
SMALLER = {
    "next-day": "a week has seven days",
    "previous-day": "a week has seven days",
    "next-month": "a year has twelve months",
    "previous-month": "a year has twelve months",
    "next-letter": "the alphabet has 26 letters",
    "previous-letter": "the alphabet has 26 letters",
}
FEW_ANSWERS = {
    "sentiment": 2,
    "word-length": 8,
    "next-day": 7,
    "previous-day": 7,
}
FOREIGN = {
    "english-french": "àâçéèêëîïôûùü",
    "english-german": "äöüß",
    "english-spanish": "áéíóúñ",
}
LISTS = sorted(name for name, task in TASKS.items() if task.unit.startswith("list"))
CATEGORIES = json.loads(
    (ROOT / "harness/stillwired/data/tasks/categories.json").read_text(encoding="utf-8")
)
LETTER_RULES: dict[str, Callable[[str], str]] = {
    "capitalize": str.capitalize,
    "capitalize-all": str.upper,
    "first-letter-capital": lambda word: word[0].upper(),
    "first-letter-lowercase": lambda word: word[0],
    "last-letter-capital": lambda word: word[-1].upper(),
    "last-letter-lowercase": lambda word: word[-1],
    "second-letter-capital": lambda word: word[1].upper(),
    "word-length": lambda word: str(len(word)),
}
LOOPS = {
    "day": list(calendar.day_name),
    "month": list(calendar.month_name)[1:],
    "letter": list(string.ascii_lowercase),
}


def table(name: str) -> dict[str, str]:
    return {row.input: row.output for row in TASKS[name].rows}


def made(rows: dict[str, str]) -> Task:
    return Task("made", "abstractive", "", tuple(Row(*row) for row in rows.items()), "", False)


def in_words(number: int) -> str:
    ones = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ]
    teens = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if number == 100:
        return "one hundred"
    if number < 20:
        return (ones + teens)[number]
    rest = f"-{ones[number % 10]}" if number % 10 else ""
    return tens[number // 10 - 2] + rest


# The tables


def test_the_papers_tasks_are_there() -> None:
    assert len(TASKS) >= 44
    assert set(REPRESENTATIVE) <= set(TASKS)
    assert all(len(TASKS[name].rows) >= 150 for name in REPRESENTATIVE)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_table_is_sound(task: Task) -> None:
    assert task.kind in KINDS
    assert re.fullmatch(r"[A-Z].*[a-z]\.", task.says)
    assert task.source == "written for this project"
    inputs = [row.input for row in task.rows]
    assert [x for x, count in Counter(inputs).items() if count > 1] == []
    for row in task.rows:
        for side in (row.input, row.output):
            assert side, row
            assert side == " ".join(side.split()), row
        # A capital is all that tells the two sides of these apart.
        same = task.name.startswith("capitalize")
        assert (row.input.lower() == row.output.lower()) == same, row
        assert row.input != row.output
    assert task.answers == len(set(table(task.name).values()))
    assert task.cyclic == (set(inputs) == {row.output for row in task.rows})


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_table_is_as_long_as_the_world_allows(task: Task) -> None:
    assert (len(task.rows) < 100) == (task.name in SMALLER)
    assert task.answers >= 10 or FEW_ANSWERS[task.name] == task.answers


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_table_needs_no_more_characters_than_its_languages(task: Task) -> None:
    foreign = FOREIGN.get(task.name, "")
    marks = " -'" + (",.!" if task.unit == "sentence" else "," if task.name in LISTS else "")
    if task.unit in ("product", "person"):
        marks += ".&/"
    for row in task.rows:
        letters = row.input + row.output
        assert all(
            letter in string.ascii_letters
            or letter in marks
            or letter.lower() in foreign
            or (letter.isascii() and letter.isdigit() and task.unit != "sentence")
            for letter in letters
        ), row
        assert row.input.isascii()


def test_no_answer_makes_up_most_of_a_table_with_many() -> None:
    for task in TASKS.values():
        if task.answers >= 10:
            most = Counter(row.output for row in task.rows).most_common(1)[0][1]
            assert most <= len(task.rows) * 0.25, task.name


def test_the_files_are_shipped_with_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "**/*.json" in settings["tool"]["setuptools"]["package-data"]["stillwired"]


def test_a_file_is_named_after_its_task() -> None:
    files = {file.stem for file in (ROOT / "harness/stillwired/data/tasks").iterdir()}
    assert files == {*TASKS, "categories"}


def test_the_documentation_lists_every_task_as_it_is() -> None:
    text = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \| (\w+)", text, re.MULTILINE)
    assert sorted(listed) == [
        (task.name, str(len(task.rows)), str(task.answers), task.kind)
        for _, task in sorted(TASKS.items())
    ]


# What the tables say


@pytest.mark.parametrize("name", LETTER_RULES)
def test_tasks_about_letters_follow_their_rule(name: str) -> None:
    rule = LETTER_RULES[name]
    assert [row for row in TASKS[name].rows if rule(row.input) != row.output] == []
    assert [row for row in TASKS[name].rows if not re.fullmatch("[a-z]{3,}", row.input)] == []


@pytest.mark.parametrize("what", LOOPS)
def test_days_months_and_letters_go_round(what: str) -> None:
    items = LOOPS[what]
    assert table(f"next-{what}") == dict(zip(items, items[1:] + items[:1], strict=True))
    assert TASKS[f"next-{what}"].cyclic


def test_numbers_in_words_are_counted_right() -> None:
    assert table("number-digits") == {in_words(k): str(k) for k in range(101)}
    assert table("next-number") == {in_words(k): in_words(k + 1) for k in range(100)}


def test_the_mixed_table_of_items_holds_the_single_ones() -> None:
    single = {**table("next-day"), **table("next-month"), **table("next-letter")}
    numbers = {in_words(k): in_words(k + 1) for k in range(60)}
    assert table("next-item") == {**single, **numbers}


@pytest.mark.parametrize("what", [*LOOPS, "number", "item"])
def test_going_back_undoes_going_on(what: str) -> None:
    back = {y: x for x, y in table(f"next-{what}").items()}
    assert table(f"previous-{what}") == back


def test_the_opposite_of_the_opposite_is_the_word() -> None:
    opposites = table("antonym")
    assert TASKS["antonym"].cyclic
    assert [x for x, y in opposites.items() if opposites[y] != x] == []


def test_forms_of_words_look_as_they_should() -> None:
    assert [x for x, y in table("verb-ing").items() if not y.endswith("ing")] == []
    adverbs = table("adjective-adverb")
    assert [x for x, y in adverbs.items() if not y.endswith("ly")] == ["good"]
    more, most = table("adjective-comparative"), table("adjective-superlative")
    assert list(more) == list(most)
    irregular = [x for x, y in more.items() if not y.endswith("er") or y[:-2] != most[x][:-3]]
    assert irregular == ["good", "bad"]
    past = table("present-past")
    assert sum(y.startswith(x[:-1]) and y.endswith("ed") for x, y in past.items()) >= 90
    assert sum(not y.endswith("ed") for y in past.values()) >= 80


def test_countries_agree_between_tables() -> None:
    tables = [table(f"country-{what}") for what in ("capital", "currency", "language")]
    names = set().union(*tables)
    assert len(set(tables[0]) & set(tables[1]) & set(tables[2])) >= 70
    for name in ("landmark-country", "city-country"):
        unknown = set(table(name).values()) - names
        assert unknown <= {"Singapore"}, name
    capitals = set(tables[0].values())
    assert set(table("city-country")) & capitals == set()


def test_a_sentence_of_opinion_is_as_often_good_as_bad() -> None:
    counts = Counter(table("sentiment").values())
    assert counts == {"positive": 60, "negative": 60}


# Lists of words


@pytest.mark.parametrize("name", LISTS)
def test_a_list_holds_the_answer_once_and_no_two_words_that_begin_alike(name: str) -> None:
    size = int(name[-1])
    for row in TASKS[name].rows:
        words = row.input.split(", ")
        assert len(words) == size
        assert len({word[0] for word in words}) == size
        assert words.count(row.output) == 1


def of(pattern: str) -> list[str]:
    return [name for name in LISTS if re.fullmatch(pattern, name)]


@pytest.mark.parametrize("name", of(r"choose-.*"))
def test_the_word_at_a_place_is_chosen(name: str) -> None:
    size = int(name[-1])
    place = {"first": 0, "middle": size // 2, "last": size - 1}[name.split("-")[1]]
    assert all(row.input.split(", ")[place] == row.output for row in TASKS[name].rows)


@pytest.mark.parametrize("name", of(r"alphabetically-.*"))
def test_the_alphabet_decides(name: str) -> None:
    chosen = min if "first" in name else max
    assert all(chosen(row.input.split(", ")) == row.output for row in TASKS[name].rows)


@pytest.mark.parametrize("name", of(r".*-among-.*"))
def test_only_the_answer_belongs_to_the_category(name: str) -> None:
    one, others = re.findall(r"(\w+)-among-(\w+)s-of", name)[0]
    for row in TASKS[name].rows:
        words = row.input.split(", ")
        assert [word for word in words if word in CATEGORIES[one]] == [row.output]
        assert sum(word in CATEGORIES[others] for word in words) == len(words) - 1


@pytest.mark.parametrize("name", of(r"(alphabetically|\w+-among)-.*"))
def test_the_answer_stands_anywhere_in_the_list(name: str) -> None:
    size = int(name[-1])
    places = Counter(row.input.split(", ").index(row.output) for row in TASKS[name].rows)
    assert set(places) == set(range(size))
    assert min(places.values()) >= 0.6 * len(TASKS[name].rows) / size


def test_every_kind_of_list_comes_with_three_and_with_five_words() -> None:
    assert {name[:-1] for name in of(r".*3")} == {name[:-1] for name in of(r".*5")}
    assert len(LISTS) == 24
    assert {TASKS[name].kind for name in LISTS} == {"extractive"}


def test_no_word_is_in_two_categories() -> None:
    counts = Counter(word for words in CATEGORIES.values() for word in words)
    assert [word for word, count in counts.items() if count > 1] == []
    assert all(re.fullmatch("[a-z]+", word) for word in counts)


# Splits

tables = st.dictionaries(
    st.text(min_size=1, max_size=4), st.text(min_size=1, max_size=4), max_size=60
)


@given(tables, st.integers(0, 9))
def test_splits_are_disjoint_cover_the_table_and_never_change(
    rows: dict[str, str], seed: int
) -> None:
    task = made(rows)
    parts = split(task, seed)
    assert tuple(parts) == SPLITS
    assert Counter(row for part in parts.values() for row in part) == Counter(task.rows)
    assert split(made(dict(reversed(rows.items()))), seed) == parts


@given(st.integers(4, 200), st.integers(0, 9))
def test_shares_are_a_half_a_fifth_and_the_rest(count: int, seed: int) -> None:
    parts = split(made({f"a{k}": f"b{k}" for k in range(count)}), seed)
    assert all(parts.values())
    for part, share in (("fit", 0.5), ("choose", 0.2), ("judge", 0.3)):
        assert abs(len(parts[part]) - share * count) <= 1


def test_a_row_and_its_reverse_are_never_parted() -> None:
    for seed in range(3):
        for part in split(TASKS["antonym"], seed).values():
            assert {row.input for row in part} == {row.output for row in part}


def test_another_seed_is_another_split() -> None:
    first, second = (split(TASKS["country-capital"], seed)["judge"] for seed in (0, 1))
    assert set(first) != set(second)


def test_what_is_drawn_is_pinned() -> None:
    assert TASKS["choose-first-of-3"].rows[0] == Row("lobster, plum, axe", "lobster")
    assert [row.input for row in split(TASKS["next-day"], 0)["judge"]] == ["Saturday", "Sunday"]


# Formats

sides = st.text(alphabet="ab {}xyn.", min_size=1, max_size=8)
examples = st.lists(st.builds(Row, sides, sides), max_size=4)


def test_there_are_the_papers_format_and_many_others() -> None:
    shots = [Row("hot", "cold"), Row("big", "small")]
    assert prompt(FORMATS["qa"], shots, "up") == "Q: hot\nA: cold\n\nQ: big\nA: small\n\nQ: up\nA:"
    assert len(FORMATS) >= 11
    assert len({prompt(form, shots, "up") for form in FORMATS.values()}) == len(FORMATS)


def test_formats_count_and_open() -> None:
    shots = [Row("hot", "cold")]
    assert prompt(FORMATS["numbered"], shots, "up") == "1. hot / cold\n2. up /"
    assert prompt(FORMATS["table"], [], "up") == "| given | wanted |\n| --- | --- |\n| up |"
    assert json.loads(prompt(FORMATS["json"], [], "up") + 'down"}') == {"in": "up", "out": "down"}


@pytest.mark.parametrize("name", FORMATS)
@given(shots=examples, row=st.builds(Row, sides, sides), query=sides)
def test_a_prompt_ends_right_before_the_answer(
    name: str, shots: list[Row], row: Row, query: str
) -> None:
    form = FORMATS[name]
    assert form.lead in ("", " ")
    asked = prompt(form, shots, query)
    assert asked == asked.rstrip()
    assert query in asked
    # What a further shot shows begins with what was asked for it, and its answer.
    longer = prompt(form, [*shots, row], query)
    assert longer.startswith(prompt(form, shots, row.input) + form.lead + row.output)


def test_every_separator_is_the_same_for_all_shots() -> None:
    for form in FORMATS.values():
        assert form.example.count("{x}") == form.example.count("{y}") == 1
        assert form.example.index("{x}") < form.example.index("{y}")
        assert re.search(r"\{x\}.*\S.*\{y\}", form.example, re.DOTALL)
        assert form.example.endswith("\n")


def test_natural_text_is_for_words_and_countries() -> None:
    assert frames(TASKS["antonym"]) == WORD_FRAMES
    assert frames(TASKS["country-capital"]) == PLACE_FRAMES
    assert frames(TASKS["sentiment"]) == ()
    assert (len(WORD_FRAMES), len(PLACE_FRAMES)) == (5, 3)
    for frame in (*WORD_FRAMES, *PLACE_FRAMES):
        assert frame.count("{x}") == 1
        assert in_frame(frame, "{x}") == frame
        assert re.search(r"\w$", frame)


# Shuffled labels


@given(st.lists(st.sampled_from("abcdefghij"), max_size=14), st.integers(0, 99))
def test_shuffling_moves_every_label(answers: list[str], seed: int) -> None:
    assume(2 * max(Counter(answers).values(), default=0) <= len(answers))
    task = made({f"x{k}": answer for k, answer in enumerate("abcdefghij")})
    shots = [Row(f"x{k}", answer) for k, answer in enumerate(answers)]
    moved = shuffle_labels(task, shots, np.random.default_rng(seed))
    assert [row.input for row in moved] == [row.input for row in shots]
    assert Counter(row.output for row in moved) == Counter(answers)
    assert all(a.output != b.output for a, b in zip(shots, moved, strict=True))
    assert moved == shuffle_labels(task, shots, np.random.default_rng(seed))


def test_shuffling_leaves_the_order_to_chance() -> None:
    task = TASKS["country-capital"]
    shots = task.rows[:10]
    made_by = {
        tuple(row.output for row in shuffle_labels(task, shots, np.random.default_rng(seed)))
        for seed in range(200)
    }
    assert len(made_by) == 200
    assert all(len({answers[k] for answers in made_by}) == 9 for k in range(10))


def test_labels_that_cannot_be_shuffled_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CorpusError, match="sentiment cannot be shuffled: it has 2 distinct"):
        shuffle_labels(TASKS["sentiment"], TASKS["sentiment"].rows[:10], rng)
    euro = [row for row in TASKS["country-currency"].rows if row.output == "euro"]
    yen = [row for row in TASKS["country-currency"].rows if row.output == "yen"]
    with pytest.raises(CorpusError, match="4 of them share an answer"):
        shuffle_labels(TASKS["country-currency"], [*euro[:4], *yen], rng)


# The user's own


def rows_of(count: int) -> list[object]:
    return [{"input": f"in {k}", "output": f"out {k}"} for k in range(count)]


def saved(folder: Path, content: object, name: str = "mine.json") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_folder_in_the_published_form_is_read(tmp_path: Path) -> None:
    saved(tmp_path, [{"input": f" w{k} ", "output": f"é{k}", "more": 1} for k in range(30)])
    saved(tmp_path, [{"input": f"a, b{k}", "output": f"b{k}"} for k in range(30)], "pick.json")
    ring = [{"input": f"r{k}", "output": f"r{(k + 1) % 30}"} for k in range(30)]
    saved(tmp_path, "\ufeff" + json.dumps(ring), "ring.json")
    saved(tmp_path, "not read", "notes.txt")
    tasks = load_task_folder(tmp_path)
    assert list(tasks) == ["mine", "pick", "ring"]
    assert tasks["mine"].rows[0] == Row("w0", "é0")
    assert [tasks[name].kind for name in tasks] == ["abstractive", "extractive", "abstractive"]
    assert [tasks[name].cyclic for name in tasks] == [False, False, True]
    assert tasks["mine"].source == "mine.json"


def refused(path: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        load_task_folder(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (["a", "b"], "not an object"),
        ({"input": "a"}, 'no "output"'),
        ({"output": "a"}, 'no "input"'),
        ({"input": "a", "output": 5}, '"output" is 5, not a string. Put it in quotes'),
        ({"input": None, "output": "b"}, '"input" is None, not a string'),
        ({"input": "a", "output": " "}, '"output" is empty. Fill it in'),
        ({"input": "", "output": "b"}, '"input" is empty'),
        ({"input": "a", "output": "a "}, "both 'a', which shows nothing. Remove"),
        ({"input": "in 3", "output": "b"}, "already that of row 4. Keep one"),
        ({"input": "a", "output": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: object, why: str) -> None:
    message = refused(saved(tmp_path, [*rows_of(31), row]))
    assert "mine.json, row 32: " in message
    assert why in message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "cannot be read as JSON"),
        ('[{"input": ', "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ({"input": "a", "output": "b"}, "is not a list. Write the rows as [{"),
        ("[]", "has 0 rows, but at least 30 are needed"),
        (rows_of(1), "has 1 row, but"),
        (rows_of(29), "has 29 rows, but"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: object, why: str) -> None:
    message = refused(saved(tmp_path, content))
    assert "mine.json" in message
    assert why in message


def test_what_is_no_folder_of_tasks_is_refused(tmp_path: Path) -> None:
    assert "holds no .json file. Put one there" in refused(tmp_path)
    assert "There is no folder" in refused(tmp_path / "none")
    saved(tmp_path, rows_of(30))
    assert "There is no folder" in refused(tmp_path / "mine.json")
    (tmp_path / "mine.json").write_bytes(b'["\xff"]')
    assert "as UTF-8" in refused(tmp_path)
