"""Progress: a bar on a terminal, a line now and then in a log, nothing in a short run."""

import io

from model_eval.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_every_ten_seconds():
    stream, times = io.StringIO(), iter([0.0, 4.0, 10.0, 15.0, 25.0])
    with show_progress(4000, stream=stream, clock=lambda: next(times)) as advance:
        for _ in range(4):
            advance(1000)
    assert stream.getvalue() == (
        "evaluated 2,000 of 4,000 samples\nevaluated 4,000 of 4,000 samples\n"
    )


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = Terminal()
    with show_progress(10, stream=stream, clock=lambda: 0.0) as advance:
        advance(10)
    shown = stream.getvalue()
    assert "0/10" in shown
    assert shown.endswith("\r")
