"""Questions about tasks: what is written, what is asked, and what is left out."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.task_prompts import FORMATS
from stillwired.data.tasks import Row, Task, split
from stillwired.errors import UnsuitableTaskError, UsageError
from stillwired.instruments import questions as module
from stillwired.instruments.questions import (
    Drawn,
    ask,
    ask_in_frame,
    clusters_of,
    digest_of,
    draw,
)

WORDS = [a + b for a in ("ba", "ce", "di", "fo", "gu", "ha") for b in ("n", "r", "s", "t", "l")]
KNOWN = WORDS[:20]
"""Words that are one token behind a space; of the others the first letter is one with it."""
LETTERS = "bcdefghiklnorstuvz"
FRAME = 'When they say "{x}" here, they mean'


@cache
def made(joined: tuple[str, ...] = (), prefix: bool = True, trimmed: bool = False) -> Checkpoint:
    """A tokenizer of bytes, spaces with a letter, and known words; the model is never run.

    Args:
        joined: Pieces of the vocabulary that become one token with a colon before them.
        prefix: Put a token before every text, as Gemma's does.
        trimmed: Leave spaces out of tokens' offsets, as GPT-2's does.
    """
    merges = [("Ġ", letter) for letter in LETTERS]
    merges += [("Ġ" + word[:k], word[k]) for word in KNOWN for k in (1, 2)]
    merges += [(":", piece) for piece in joined]
    vocabulary = {"<bos>": 0}
    for piece in [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]:
        vocabulary.setdefault(piece, len(vocabulary))
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges))))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not joined)
    inner.decoder = decoders.ByteLevel()
    steps = [processors.ByteLevel(trim_offsets=trimmed)]
    if prefix:
        before = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
        steps.append(before)
    inner.post_processor = processors.Sequence(steps)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>")
    return Checkpoint.of_model(model_of(len(vocabulary)), tokenizer, name="bytes")


def model_of(tokens) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokens,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return LlamaForCausalLM(config)


def task_of(rows, name="made", kind="abstractive") -> Task:
    return Task(name, kind, "What is made.", tuple(Row(*row) for row in rows), "made up", False)


# Inputs begin with a letter that no answer begins with, so that nothing can be copied.
PLAIN = task_of([(f"x{word}", word) for word in WORDS])
BOTH_WAYS = task_of(
    [(f"a{k}", f"z{k}") for k in range(20)] + [(f"z{k}", f"a{k}") for k in range(20)]
)


def rng_of(seed=0):
    def rng(purpose):
        return np.random.default_rng([seed, *purpose.encode()])

    return rng


def drawn_of(task, part="judge", count=100, shots=4, seed=0):
    return draw(task, split(task, 0), part, count, shots, rng_of(seed))


def asked(task=PLAIN, kind="clean", form="qa", part="judge", seed=0, checkpoint=None, shots=4):
    """What was drawn of a task, and the questions."""
    drawn = drawn_of(task, part, shots=shots, seed=seed)
    made_of = checkpoint or made()
    return drawn, ask(made_of, task, drawn, kind, FORMATS[form], rng_of(seed))


def text_of(checkpoint, tokens):
    return checkpoint.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)


def pair(row):
    return {row.input, row.output}


# What is written


WRITTEN = {
    "qa": lambda shots, x: (
        "".join(f"Q: {r.input}\nA: {r.output}\n\n" for r in shots) + f"Q: {x}\nA:"
    ),
    "arrow": lambda shots, x: "".join(f"{r.input} → {r.output}\n" for r in shots) + f"{x} →",
    "numbered": lambda shots, x: (
        "".join(f"{n}. {r.input} / {r.output}\n" for n, r in enumerate(shots, 1))
        + f"{len(shots) + 1}. {x} /"
    ),
    "json": lambda shots, x: (
        "".join(f'{{"in": "{r.input}", "out": "{r.output}"}}\n' for r in shots)
        + f'{{"in": "{x}", "out": "'
    ),
    "table": lambda shots, x: (
        "| given | wanted |\n| --- | --- |\n"
        + "".join(f"| {r.input} | {r.output} |\n" for r in shots)
        + f"| {x} |"
    ),
}


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("form", WRITTEN)
def test_prompts_read_as_the_format_says(form, prefix):
    checkpoint = made(prefix=prefix)
    for kind in ("clean", "zero-shot"):
        drawn, questions = asked(kind=kind, form=form, checkpoint=checkpoint)
        assert len(questions) == len(drawn) == len(split(PLAIN, 0)["judge"])
        for one, question in zip(drawn, questions, strict=True):
            tokens = question.tokens
            if prefix:
                assert tokens[0] == 0
                tokens = tokens[1:]
            shots = one.shots if kind == "clean" else ()
            assert text_of(checkpoint, tokens) == WRITTEN[form](shots, one.query.input)
            assert question.row == one.query


@pytest.mark.parametrize("form", WRITTEN)
def test_the_answer_is_what_the_tokenizer_writes_next(form):
    checkpoint, lengths = made(), set()
    drawn, questions = asked(form=form)
    for one, question in zip(drawn, questions, strict=True):
        lead = "" if form == "json" else " "
        whole = WRITTEN[form](one.shots, one.query.input) + lead + one.query.output
        behind = checkpoint.encode([whole])[0][len(question.tokens) - 1 :]
        assert question.answer == behind[0]
        assert question.pieces == len(behind)
        first = text_of(checkpoint, [question.answer])
        if form == "json":
            assert first == one.query.output[0]
        else:
            assert first == (" " + one.query.output if one.query.output in KNOWN else first[:2])
        assert (lead + one.query.output).startswith(first)
        lengths.add(question.pieces)
    assert lengths == ({3} if form == "json" else {1, 3})


def test_queries_are_written_as_answers_would_be():
    checkpoint, known = made(), task_of([(word, f"x{word}") for word in WORDS])
    for form, lead in (("qa", " "), ("json", "")):
        for question in asked(known, form=form)[1]:
            assert text_of(checkpoint, question.query) == lead + question.row.input
        # Here the space is a token of its own, which says nothing.
        for question in asked(form=form)[1]:
            assert text_of(checkpoint, question.query) == question.row.input


NUMBERS = task_of([(f"x{word}", str(9 + 2 * k)) for k, word in enumerate(WORDS)], "numbers")
"""To the tokenizer a number is its digits, and the space before it is a token."""


@pytest.mark.parametrize("kind", ["clean", "zero-shot"])
@pytest.mark.parametrize("form", WRITTEN)
def test_a_space_of_its_own_before_the_answer_is_asked_with_the_prompt(form, kind):
    drawn, questions = asked(NUMBERS, kind, form)
    assert len(questions) == len(drawn)
    for one, question in zip(drawn, questions, strict=True):
        shots = one.shots if kind == "clean" else ()
        lead = "" if form == "json" else " "
        written = WRITTEN[form](shots, one.query.input) + lead
        assert text_of(made(), question.tokens[1:]) == written
        assert text_of(made(), [question.answer]) == one.query.output[0]
        assert question.pieces == len(one.query.output)
        assert not question.copies
        shown = [text_of(made(), [question.tokens[k]]) for k in question.answers]
        assert "".join(shown) == "".join(row.output for row in shots)


def test_a_space_of_its_own_is_asked_with_natural_text_too():
    for one, question in zip(
        drawn_of(NUMBERS), ask_in_frame(made(), drawn_of(NUMBERS), FRAME), strict=True
    ):
        written = f'When they say "{one.query.input}" here, they mean '
        assert text_of(made(), question.tokens[1:]) == written
        assert text_of(made(), [question.answer]) == one.query.output[0]


def test_an_answer_of_blanks_alone_is_left_out():
    rows = [Row("x", " "), Row("xx", "ban")]
    drawn = [Drawn(row.input, row, ()) for row in rows]
    (question,) = ask(made(), PLAIN, drawn, "zero-shot", FORMATS["qa"], rng_of())
    assert question.row == rows[1]


def test_rows_whose_answer_joins_the_prompt_are_left_out():
    # Behind a colon, "ha" goes together with it; nothing joins an arrow.
    checkpoint = made(joined=("Ġh",))
    drawn, questions = asked(checkpoint=checkpoint)
    joined = [one.query.output for one in drawn if one.query.output.startswith("h")]
    assert joined
    left = [one.example for one in drawn if not one.query.output.startswith("h")]
    assert [question.example for question in questions] == left
    drawn, questions = asked(checkpoint=checkpoint, form="arrow")
    assert [question.example for question in questions] == [one.example for one in drawn]


def test_a_task_whose_every_answer_joins_the_prompt_leaves_nothing():
    checkpoint = made(joined=tuple("Ġ" + piece for piece in (*"bcdfgh", *KNOWN)))
    assert asked(checkpoint=checkpoint)[1] == []
    assert len(asked(checkpoint=made())[1]) == len(drawn_of(PLAIN))


# Where the shots' answers are


def bytes_of(checkpoint, tokens):
    """How many bytes each token stands for: one for each of its characters."""
    return [len(piece) for piece in checkpoint.tokenizer.convert_ids_to_tokens(list(tokens))]


def touched(checkpoint, tokens, spans):
    """Tokens that share a byte with some spans of bytes, counted from lengths alone."""
    ends = np.cumsum(bytes_of(checkpoint, tokens))
    starts = ends - bytes_of(checkpoint, tokens)
    return tuple(
        k
        for k, (start, end) in enumerate(zip(starts, ends, strict=True))
        if any(start < last and end > first for first, last in spans)
    )


FAR = task_of([(f"x{word}é", f"{word}ö {word}") for word in WORDS], "far")


@pytest.mark.parametrize("task", [PLAIN, FAR], ids=["plain", "accents"])
@pytest.mark.parametrize("trimmed", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("form", WRITTEN)
def test_answers_are_the_tokens_of_the_shots_answers(form, prefix, trimmed, task):
    checkpoint = made(prefix=prefix, trimmed=trimmed)
    drawn, questions = asked(task, form=form, checkpoint=checkpoint)
    for one, question in zip(drawn, questions, strict=True):
        spans = []
        for number in range(len(one.shots)):
            shown = WRITTEN[form](one.shots[: number + 1], "")
            # What stands behind the answer: an example without input, and the end of this one.
            before = WRITTEN[form](
                (*one.shots[:number], Row(one.shots[number].input, "\0")), ""
            ).index("\0")
            answer = one.shots[number].output
            assert shown[before : before + len(answer)] == answer
            spans.append(
                (len(shown[:before].encode()), len(shown[: before + len(answer)].encode()))
            )
        body = question.tokens[prefix:]
        expected = tuple(place + prefix for place in touched(checkpoint, body, spans))
        assert question.answers == expected
        assert len(expected) >= len(one.shots)


def test_numbers_of_two_digits_move_the_answers_behind_them():
    checkpoint = made()
    drawn, questions = asked(form="numbered", shots=12)
    for one, question in zip(drawn, questions, strict=True):
        words = [text_of(checkpoint, [question.tokens[k]]) for k in question.answers]
        assert "".join(words) == "".join(" " + row.output for row in one.shots)


def test_known_words_are_one_position_each_and_others_three():
    checkpoint = made()
    for one, question in zip(*asked(), strict=True):
        words = [text_of(checkpoint, [question.tokens[k]]) for k in question.answers]
        assert "".join(words) == "".join(" " + row.output for row in one.shots)
        assert len(words) == sum(1 if row.output in KNOWN else 3 for row in one.shots)


def test_without_shots_there_are_no_answers_to_look_at():
    assert {question.answers for question in asked(kind="zero-shot")[1]} == {()}


# What is drawn


def test_shots_are_fit_rows_and_never_the_query_or_its_reverse():
    """As many shots as there are: everything but the query's own pair is shown."""
    parts = split(BOTH_WAYS, 0)
    for part in parts:
        shots = len(parts["fit"]) - 2 * (part == "fit")
        for one in drawn_of(BOTH_WAYS, part, shots=shots):
            assert one.query in parts[part]
            shown = [row for row in parts["fit"] if pair(row) != pair(one.query)]
            assert sorted(one.shots, key=str) == sorted(shown, key=str)


def test_more_shots_than_rows_are_refused():
    fit = len(split(BOTH_WAYS, 0)["fit"])
    told = rf"made has {fit - 2} rows to show beside .*{fit - 1} sho"
    with pytest.raises(UnsuitableTaskError, match=told):
        drawn_of(BOTH_WAYS, "fit", shots=fit - 1)
    with pytest.raises(UnsuitableTaskError, match=f"made has {fit} rows to show"):
        drawn_of(BOTH_WAYS, "judge", shots=fit + 1)


def test_no_shot_occurs_twice_and_other_queries_are_shown_others():
    drawn = drawn_of(PLAIN)
    assert all(len(set(one.shots)) == 4 for one in drawn)
    assert len({one.shots for one in drawn}) == len(drawn)
    # Over many queries every row that can be shown is.
    shown = [one.shots for seed in range(4) for one in drawn_of(PLAIN, "fit", seed=seed)]
    assert {row for shots in shown for row in shots} == set(split(PLAIN, 0)["fit"])


def test_each_row_is_asked_once_and_as_many_as_are_wanted():
    parts = split(PLAIN, 0)
    for part in parts:
        drawn = drawn_of(PLAIN, part)
        assert len(drawn) == len(parts[part])
        assert {one.query for one in drawn} == set(parts[part])
        assert [one.example for one in drawn] == [f"made: {one.query.input}" for one in drawn]
        assert [one.query for one in drawn] != list(parts[part])
        # Fewer are the first of them, with the same shots.
        assert drawn_of(PLAIN, part, count=3) == drawn[:3]


def test_what_is_drawn_is_a_matter_of_seed_task_and_part():
    assert drawn_of(PLAIN) == drawn_of(PLAIN)
    assert drawn_of(PLAIN, seed=1) != drawn_of(PLAIN)
    purposes = []

    def rng(purpose):
        purposes.append(purpose)
        return np.random.default_rng(0)

    for task in (PLAIN, FAR):
        for part in ("fit", "judge"):
            draw(task, split(task, 0), part, 3, 4, rng)
    assert len(set(purposes)) == 4


def test_a_word_pair_is_one_cluster_whichever_way_round():
    drawn, questions = asked(BOTH_WAYS, "zero-shot", part="fit")
    clusters = {}
    for question in questions:
        clusters.setdefault(question.cluster, []).append(frozenset(pair(question.row)))
    assert len(questions) == len(drawn) == 2 * len(clusters)
    assert all(len(pairs) == 2 and len(set(pairs)) == 1 for pairs in clusters.values())


def test_rows_that_share_an_answer_are_one_cluster():
    rows = [(f"x{k}", WORDS[k % 12]) for k in range(40)]
    task = task_of([*rows, (WORDS[1], WORDS[29]), (WORDS[29], WORDS[1])])
    clusters = {}
    for row, cluster in clusters_of(task).items():
        clusters.setdefault(cluster, set()).add(row)
    # A row and its reverse bring the rows of both answers together.
    joined = {row for row in task.rows if row.output in (WORDS[1], WORDS[29])}
    apart = [{row for row in task.rows if row.output == word} for word in WORDS[:12]]
    expected = [joined, *(rows for rows in apart if not rows & joined)]
    assert len(expected) == 12
    assert sorted(map(sorted_rows, clusters.values())) == sorted(map(sorted_rows, expected))
    for part in ("fit", "judge"):
        for question in asked(task, "zero-shot", part=part)[1]:
            assert question.row in clusters[question.cluster]


def sorted_rows(rows):
    return sorted((row.input, row.output) for row in rows)


@pytest.mark.parametrize("answers", [1, 2, 9, 30])
def test_rows_of_few_answers_and_of_different_ones_are_apart(answers):
    """Two answers are all that there are of their kind; rows are the sample."""
    task = task_of([(f"x{word}", WORDS[k % answers]) for k, word in enumerate(WORDS)])
    assert len(set(clusters_of(task).values())) == len(task.rows)
    assert len({question.cluster for question in asked(task)[1]}) == len(drawn_of(task))


# Shuffled labels


def shown_in(checkpoint, question):
    """What the prompt shows, read from its text."""
    return re.findall(r"Q: (.*)\nA: (.*)\n\n", text_of(checkpoint, question.tokens[1:]))


def test_shuffled_labels_are_never_the_right_ones_and_nothing_else_changes():
    right = {row.input: row.output for row in PLAIN.rows}
    drawn, questions = asked(kind="shuffled")
    assert len(questions) == len(drawn)
    for one, question in zip(drawn, questions, strict=True):
        shown = shown_in(made(), question)
        assert [x for x, _ in shown] == [row.input for row in one.shots]
        assert sorted(y for _, y in shown) == sorted(row.output for row in one.shots)
        assert all(right[x] != y for x, y in shown)
        assert text_of(made(), question.tokens[1:]).endswith(f"\n\nQ: {one.query.input}\nA:")
        # The question itself is asked for its right answer.
        assert text_of(made(), [question.answer]) in (
            " " + right[one.query.input],
            " " + right[one.query.input][0],
        )
    clean = asked()[1]
    assert [q.example for q in questions] == [q.example for q in clean]
    assert [q.answer for q in questions] == [q.answer for q in clean]


def test_shuffled_answers_are_where_the_labels_stand():
    for question in asked(kind="shuffled")[1]:
        shown = shown_in(made(), question)
        words = "".join(text_of(made(), [question.tokens[k]]) for k in question.answers)
        assert words == "".join(f" {y}" for _, y in shown)


def test_labels_are_dealt_out_by_the_seed():
    assert asked(kind="shuffled")[1] == asked(kind="shuffled")[1]
    drawn = drawn_of(PLAIN)
    others = ask(made(), PLAIN, drawn, "shuffled", FORMATS["qa"], rng_of(5))
    assert [q.tokens for q in others] != [q.tokens for q in asked(kind="shuffled")[1]]


def test_shots_that_share_too_few_answers_are_left_out():
    rows = [(f"x{k}", "ban") for k in range(40)] + [(f"xx{k}", WORDS[k]) for k in range(1, 26)]
    drawn, questions = asked(task_of(rows), "shuffled", part="fit")
    alike = [sum(row.output == "ban" for row in one.shots) for one in drawn]
    assert {3, 4} & set(alike)
    assert {1, 2} & set(alike)
    left = [one.example for one, same in zip(drawn, alike, strict=True) if 2 * same <= 4]
    assert [question.example for question in questions] == left


def test_labels_of_few_answers_cannot_be_shuffled():
    few = task_of([(f"x{k}", WORDS[k % 9]) for k in range(40)], "few")
    with pytest.raises(UnsuitableTaskError, match=r"few cannot be shuffled.* with 9 distinct tok"):
        asked(few, "shuffled")
    for kind in ("clean", "zero-shot"):
        assert len(asked(few, kind)[1]) == len(drawn_of(few))


def test_labels_are_counted_by_the_tokens_that_they_begin_with():
    """A table may have many answers and the tokenizer few beginnings of them."""
    assert NUMBERS.answers == 30
    with pytest.raises(UnsuitableTaskError, match="begin with 7 distinct tokens, and at least 10"):
        asked(NUMBERS, "shuffled")
    every = task_of([(f"x{word}", str(3 + 5 * k)) for k, word in enumerate(WORDS)])
    assert {row.output[0] for row in every.rows} == set("123456789")
    with pytest.raises(UnsuitableTaskError, match="begin with 9 distinct tokens"):
        asked(every, "shuffled")
    rows = [*((row.input, row.output) for row in every.rows), ("xnil", "0")]
    assert asked(task_of(rows), "shuffled")[1]
    # Behind a colon all these words become one with it; behind an arrow none does.
    checkpoint = made(joined=tuple("Ġ" + piece for piece in (*"cdfgh", *KNOWN[5:])))
    with pytest.raises(UnsuitableTaskError, match="begin with 5 distinct tokens"):
        asked(kind="shuffled", checkpoint=checkpoint)
    assert asked(kind="shuffled", form="arrow", checkpoint=checkpoint)[1]


def test_there_are_no_other_kinds():
    with pytest.raises(UsageError, match=r"no 'hard' questions.*clean, shuffled, zero-shot"):
        asked(kind="hard")


# What repeating the query would answer


@pytest.mark.parametrize(
    ("row", "form", "copies"),
    [
        (("ban cer", "ban"), "qa", True),
        (("cer ban", "ban"), "qa", False),
        # A known word is another token than another word that begins alike.
        (("banana", "ban"), "qa", True),
        (("bar", "ban"), "qa", False),
        # Unknown ones share the first letter.
        (("gun", "gut"), "qa", True),
        (("gun", "hat"), "qa", False),
        # Without a space before it, everything is letters.
        (("bar", "ban"), "json", True),
        (("car", "ban"), "json", False),
        (("Ban", "ban"), "json", False),
        # The digit is what is asked for, behind a space of its own.
        (("7up", "71"), "qa", True),
        (("up 7", "71"), "qa", False),
        (("ban", "71"), "qa", False),
        (("7up", "71"), "json", True),
    ],
)
def test_copies_are_what_begins_with_the_answers_token(row, form, copies):
    drawn = [Drawn("one", Row(*row), (Row("xo", "cel"),))]
    for kind in ("clean", "zero-shot"):
        (question,) = ask(made(), PLAIN, drawn, kind, FORMATS[form], rng_of())
        assert question.copies is copies


@cache
def made_of_pieces() -> Checkpoint:
    """A tokenizer that puts a space before every text and takes it into the first letter."""
    letters = [*LETTERS, *"aejmpqwxy", *'QAIO:{}[]<>/",.', "\n", "→", "▁"]
    merges = [("▁", letter) for letter in LETTERS]
    vocabulary = {"<unk>": 0}
    for piece in [*letters, *(a + b for a, b in merges)]:
        vocabulary.setdefault(piece, len(vocabulary))
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    return Checkpoint.of_model(model_of(len(vocabulary)), tokenizer, name="pieces")


@pytest.mark.parametrize("form", ["qa", "arrow", "json", "tags", "brackets"])
def test_a_copy_is_told_where_the_query_would_be_written(form):
    """Alone, a word begins with a space that it does not have behind a quotation mark."""
    checkpoint = made_of_pieces()
    alone, behind = checkpoint.encode(["ban", '"ban'])
    assert alone[0] not in behind
    rows = {("banes", "ban"): True, ("ran", "ban"): False, ("bin", "ban"): True}
    for row, copies in rows.items():
        drawn = [Drawn("one", Row(*row), (Row("xo", "cel"),))]
        for kind in ("clean", "zero-shot"):
            (question,) = ask(checkpoint, PLAIN, drawn, kind, FORMATS[form], rng_of())
            assert question.copies is copies
            assert text_of(checkpoint, question.query).strip() == row[0]
    for row, copies in rows.items():
        drawn = [Drawn("one", Row(*row), ())]
        (question,) = ask_in_frame(checkpoint, drawn, FRAME)
        assert question.copies is copies


@pytest.mark.parametrize("kind", ["clean", "shuffled", "zero-shot"])
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_no_more_is_written_than_it_takes(monkeypatch, kind, at_once):
    """Every other query begins like its answer, and the first questions are those of all."""
    write = module._written
    monkeypatch.setattr(module, "WRITTEN", at_once)
    # Whether labels can be shuffled is seen from all answers, whatever is asked.
    monkeypatch.setattr(module, "_beginnings", lambda *_: len(WORDS))
    mixed = task_of([(f"{word} x" if k % 2 else f"x{k}", word) for k, word in enumerate(WORDS)])
    drawn, every = asked(mixed, kind)
    apart = [question for question in every if not question.copies]
    assert 3 < len(apart) < len(every)
    written = []
    monkeypatch.setattr(
        module, "_written", lambda c, some: written.append(len(some)) or write(c, some)
    )
    for copies, wanted in ((True, every), (False, apart)):
        written.clear()
        found = ask(made(), mixed, drawn, kind, FORMATS["qa"], rng_of(), 3, copies=copies)
        assert found == wanted[:3]
        needed = every.index(wanted[2]) + 1
        assert needed <= sum(written) < needed + at_once or sum(written) == len(drawn)


# Natural text


@pytest.mark.parametrize("before", ["", "It rained all day. "])
def test_natural_text_is_the_frame_with_the_query_and_nothing_shown(before):
    drawn = drawn_of(PLAIN)
    questions = ask_in_frame(made(), drawn, FRAME, before)
    assert [question.example for question in questions] == [one.example for one in drawn]
    for one, question in zip(drawn, questions, strict=True):
        written = before + f'When they say "{one.query.input}" here, they mean'
        assert text_of(made(), question.tokens[1:]) == written
        assert question.tokens[0] == 0
        assert question.answers == ()
        first = text_of(made(), [question.answer])
        assert (" " + one.query.output).startswith(first)
        assert len(first) == (4 if one.query.output in KNOWN else 2)


def test_natural_text_may_join_answers_too():
    checkpoint = made(joined=("Ġh",))
    drawn = drawn_of(PLAIN)
    kept = ask_in_frame(checkpoint, drawn, "{x} means:")
    assert [q.row for q in kept] == [
        one.query for one in drawn if not one.query.output.startswith("h")
    ]
    assert len(ask_in_frame(checkpoint, drawn, "{x} means")) == len(drawn)


# Digests


def test_a_digest_follows_name_and_rows_and_nothing_else():
    rows = [("a", "b"), ("c", "d")]
    digest = digest_of(task_of(rows))
    assert digest == digest_of(task_of(rows, kind="extractive"))
    others = [
        task_of(rows, name="other"),
        task_of(rows[::-1]),
        task_of([("a", "b"), ("d", "c")]),
        task_of([("a", "b"), ("c", "é")]),
        task_of(rows[:1]),
    ]
    assert len({digest, *map(digest_of, others)}) == 6
    assert re.fullmatch("[0-9a-f]{64}", digest)
