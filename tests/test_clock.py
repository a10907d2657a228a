"""Every second counts once, for the innermost kind of work."""

from __future__ import annotations

import threading

import pytest

from stillwired.clock import ELSE, FITS, PASSES, Clock


@pytest.fixture
def made():
    """A clock and the hands that move it."""
    at = [100.0]

    def forward(seconds):
        at[0] += seconds

    return Clock(lambda: at[0]), forward


def test_time_is_put_down_to_what_is_innermost(made):
    clock, forward = made
    forward(1)
    with clock.spending(FITS):
        forward(2)
        with clock.spending(PASSES):
            forward(4)
        forward(8)
    forward(16)
    assert clock.spent == {FITS: 10, PASSES: 4, ELSE: 17}


def test_work_that_is_still_under_way_counts_as_far_as_it_got(made):
    clock, forward = made
    with clock.spending(FITS):
        forward(3)
        assert clock.spent == {FITS: 3, ELSE: 0}
        forward(2)
    assert clock.spent == {FITS: 5, ELSE: 0}


def test_an_error_ends_what_was_under_way(made):
    clock, forward = made

    @clock.spending(PASSES)
    def work():
        forward(1)
        raise ValueError("went wrong")

    with pytest.raises(ValueError, match="went wrong"):
        work()
    forward(1)
    assert clock.spent == {PASSES: 1, ELSE: 1}


def test_a_decorated_function_counts_at_every_call(made):
    clock, forward = made

    @clock.spending(FITS)
    def fit(seconds):
        forward(seconds)
        return seconds

    assert [fit(1), fit(2)] == [1, 2]
    assert clock.spent == {FITS: 3, ELSE: 0}


def test_other_threads_are_not_counted(made):
    clock, forward = made

    def work():
        with clock.spending(PASSES):
            forward(5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert clock.spent == {ELSE: 5}
