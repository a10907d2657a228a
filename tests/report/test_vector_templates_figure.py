from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from stillwired.report.curves_figure import Heading
from stillwired.report.vector_templates_figure import OTHERS, WITHOUT, described, figure
from stillwired.report.vectors import templates_of
from tests.report import made_vectors
from tests.report.made_vectors import FORMS, record_of, template_cell

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("tiny", "quick")
RATES = {"a": 0.8, "b": 0.4}


def made(forms=FORMS, rates=RATES, **words):
    cells = [
        template_cell(task, form, rate, words.get(f"{task}_{form}", "HOLDS"))
        for form in forms
        for task, rate in rates.items()
    ]
    return templates_of(*record_of(*cells))


def written(templates):
    root = ElementTree.fromstring(figure(templates, HEADING))
    return root, [
        (text.text, float(text.get("x")), float(text.get("y")))
        for text in root.iter(f"{SVG}text")
        if text.text and text.get("x")
    ]


def test_every_pair_has_its_number_in_its_row_and_column():
    templates = made()
    _, texts = written(templates)
    across = {form: max(x for text, x, _ in texts if text == form) for form in FORMS}
    down = {row: max(y for text, _, y in texts if text == row) for row in (*FORMS, OTHERS, WITHOUT)}

    def number(row, target):
        near = [
            text
            for text, x, y in texts
            if re.fullmatch(r"\d\.\d\d", text)
            and abs(x - across[target]) < 3
            and abs(y - down[row]) < 12
        ]
        (found,) = near
        return found

    for target in FORMS:
        for of in FORMS:
            assert number(of, target) == f"{templates.cells[of, target].value:.2f}"
        assert number(OTHERS, target) == f"{templates.others[target].value:.2f}"
        assert number(WITHOUT, target) == "0.10"
    assert number("qa", "qa") == "0.60"


def test_intervals_are_written_small_where_there_is_room():
    templates = made()
    point = templates.cells["arrow", "qa"]
    said = f"{max(point.low, 0):.2f}–{min(point.high, 1):.2f}"
    assert said in [text for text, *_ in written(templates)[1]]


def test_many_formats_fit(monkeypatch):
    names = tuple(f"a-long-format-{k}" for k in range(15))
    monkeypatch.setattr(made_vectors, "FORMS", names)
    root, texts = written(made(names))
    width = float(root.get("width").removesuffix("pt"))
    assert all(0 < x < width for _, x, _ in texts)
    # The scale has two such numbers as well.
    assert sum(bool(re.fullmatch(r"\d\.\d\d", text)) for text, *_ in texts) == 15 * 17 + 2
    assert not any("–" in text for text, *_ in texts)


def test_columns_say_how_many_tasks_where_that_differs():
    even = [text for text, *_ in written(made())[1]]
    assert "profile quick, mean over 2 tasks" in even
    texts = [text for text, *_ in written(made(b_qa="NOT APPLICABLE"))[1]]
    assert "profile quick, mean over 1 to 2 tasks, their number beside each column" in texts
    assert {"qa (1)", "arrow (2)"} <= set(texts)
    assert any("over tasks, or over questions where there is one task" in text for text in texts)


def test_tasks_that_say_nothing_are_named():
    words = {f"b_{form}": "NOT APPLICABLE" for form in FORMS}
    templates = made(**words)
    assert templates.left_out == ("b",)
    texts = [text for text, *_ in written(templates)[1]]
    assert any(text.endswith("or a check failed: b.") for text in texts)
    assert described(templates, HEADING).endswith("Left out: b.")
    assert "95 % intervals over questions" in described(templates, HEADING)


def test_screen_readers_are_told_every_pair():
    templates = made()
    root, _ = written(templates)
    said = described(templates, HEADING)
    assert root.find(f"{SVG}desc").text == said
    point = templates.cells["arrow", "qa"]
    told = f"{point.value:.3f} ({point.low:.3f} to {point.high:.3f}) with the vector from arrow;"
    assert told in said
    assert "Written as qa: 0.600 (" in said
    assert said.count("without a vector") == 3
    assert templates.without["qa"].value == pytest.approx(0.1)
