from __future__ import annotations

import pytest

from stillwired.data.wikitext import GAP, plain_text

FILLER = "It is described in many books, and it has been studied for a long time."


def prose(start: str) -> str:
    return plain_text(f"{start} {FILLER}")


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        (
            "'''Albedo''' is [[reflection (physics)|reflected]] ''light''.",
            "Albedo is reflected light.",
        ),
        ("It covers {{convert|468|km2|mi2|abbr=on}}.", "It covers 468 square kilometres."),
        ("It is {{convert|5|to|6|mi}} away.", "It is 5 to 6 miles away."),
        ("{{As of|2014|3}}, it stands.", "As of March 2014, it stands."),
        ("The {{lang|fr|mot juste}} is {{nowrap|1 word}}.", "The mot juste is 1 word."),
        ("A<sub>2</sub>{{nbsp}}and B<br/>C.", "A2 and B C."),
        (
            "Said{{citation needed|date=May 2014}} often<ref name=x/>.<ref>No [[one]].</ref>",
            "Said often.",
        ),
        ("Albedo ({{IPAc-en|x|y}}; from Latin) is.", "Albedo (from Latin) is."),
        ("See [http://example.org the page] now.", "See the page now."),
        ("Salt &amp; pepper&nbsp;too <!-- {{x}} -->.", "Salt & pepper too."),
    ],
)
def test_markup_becomes_its_words(markup: str, words: str) -> None:
    assert prose(markup) == f"{words} {FILLER}"


@pytest.mark.parametrize(
    "hole",
    [
        "<math>x^2</math>",
        "{{some unknown template|x}}",
        "{{convert|5|parsecs-of-old|km}}",
        "{{frac}}",
    ],
)
def test_a_paragraph_with_a_gap_is_dropped_and_the_others_stay(hole: str) -> None:
    kept = f"Another paragraph stands here. {FILLER}"
    assert plain_text(f"Let it be {hole} in what follows. {FILLER}\n\n{kept}") == kept


def test_tables_boxes_images_lists_and_headings_go() -> None:
    markup = f"""{{{{Infobox thing
| name = {{{{nowrap|A thing}}}}
| area = {{{{convert|1|km2}}}}
}}}}
[[File:Thing.jpg|thumb|A [[thing]] with a caption that is long enough to pass for a sentence.]]
The thing is here. {FILLER}
== History ==
{{| class="wikitable"
| A cell that is long enough to pass for a sentence, with words. || {{| nested |}}
|}}
* A point of a list that is long enough to pass for a sentence, with words.
The end of it. {FILLER}
== References ==
What stands below is not read. {FILLER}
[[Category:Things]]"""
    assert plain_text(markup) == f"The thing is here. {FILLER}\n\nThe end of it. {FILLER}"


def test_a_box_on_the_line_of_a_sentence_does_not_take_it_along() -> None:
    assert plain_text(f"{{{{unknown box|x}}}}'''Abc''' is a thing. {FILLER}").startswith("Abc is")


def test_nothing_of_the_markup_survives() -> None:
    text = plain_text(f"Broken [[link and {{{{template. {FILLER}\nFine words. {FILLER}")
    assert text == f"Fine words. {FILLER}"
    assert GAP not in text
