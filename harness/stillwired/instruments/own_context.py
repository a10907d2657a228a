"""What the model itself makes of a wrong token, in its own context.

Beside a prompt that is fed a wrong token stands the model that reads one: the same token, at the
same place, with everything before it. Figures of the two say whether the prompt loses more than
the model does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.engine.sites import final
from stillwired.instruments.prompt_passes import Asked, PromptPasses
from stillwired.instruments.survey import draw
from stillwired.outcomes import Outcome

PASSAGES = 20
"""Passages that are read again."""


def keeps_its_word(passes: PromptPasses, ahead: int) -> Outcome:
    """Whether the model says at ``t + ahead`` what it says there, had ``t + 1`` been wrong.

    Args:
        passes: Knows the rows, and the wrong token of each.
        ahead: N, at least 1.

    Returns:
        Hits on the rows of the first passages; without the wrong token every one is a hit.
    """
    text, each = passes.text, passes.text.plan.profile.per_passage
    count = min(PASSAGES * each, len(text.rows("judge")))

    def read() -> dict[str, NDArray[Any]]:
        passages, places = draw(text.checkpoint, text.corpus, text.plan, "judge")
        text.say(f"reading {count} rows with a wrong token in the model's own context")
        # Sound passes: what is kept here must not depend on who asks first.
        sound = PromptPasses(text, passes.first)
        wrong = sound.fed("judge", Asked(0, fed="wrong first"))[:count, 0]
        prompts = []
        for row in range(count):
            passage, place = divmod(row, each)
            tokens = passages[passage].tokens[: places[passage, place] + ahead + 1]
            at = int(places[passage, place]) + 1
            prompts.append([*tokens[:at], int(wrong[row]), *tokens[at + 1 :]])
        guesses = np.zeros(count, np.int64)
        for first in range(0, count, each):
            # Rows of one passage differ in two tokens, and share what stands before them.
            here = prompts[first : first + each]
            for reading in sound.cone.plan(here, [], [final(-1)]).run():
                said = text.engine().unembed(reading[final(-1)]).argmax(-1).cpu().numpy()
                guesses[first + np.array(reading.rows)] = said
        return {"guesses": guesses}

    kept = text.cached("own context, wrong token", {"ahead": ahead}, read, module=__name__)
    return text.hits("the model itself, wrong first token fed", kept["guesses"], ahead)
