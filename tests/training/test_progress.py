"""Progress: one line on a terminal, lines now and then in a pipe. Ctrl-C asks first."""
import io
import signal
import sys

import pytest

from minigpt_np.training import progress
from minigpt_np.training.progress import Interruptible, Progress, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clocks(monkeypatch):
    """[seconds], in the place of time.monotonic."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(clocks, bar, *seconds):
    """What the bar writes when a step is done at each of these times, in seconds from now."""
    begin, length = clocks[0], len(bar.stream.getvalue())
    for done, second in enumerate(seconds, 1):
        clocks[0] = begin + second
        bar.update(done, "x")
    return bar.stream.getvalue()[length:]


def test_on_a_terminal_a_line_renews_itself_ten_times_a_second(clocks):
    assert shown(clocks, Progress(4, Terminal()), 0.0625, 0.125, 0.1875, 60) == (
        "\r2/4  x  0:00 left\r4/4  x  0:00 left")         # the last is always shown
    assert shown(clocks, Progress(3, Terminal()), 0.105, 0.3) == (
        "\r1/3  x  0:00 left\r2/3  x  0:00 left")


def test_a_renewed_line_covers_the_last_and_stays_within_the_terminal(clocks, monkeypatch):
    """Without an escape sequence, which NO_COLOR and plain terminals would show as such."""
    monkeypatch.setenv("COLUMNS", "20")
    bar = Progress(4, Terminal(), every=0)
    for done, text in enumerate(["long " * 9, "x", ""], 1):
        bar.update(done, text)
    bar.clear()
    assert bar.stream.getvalue() == (
        "\r1/4  long long lo\r2/4  x  0:00 left\r3/4    0:00 left \r" + 18 * " " + "\r")


def test_on_a_dumb_terminal_no_line_renews_itself(clocks, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert shown(clocks, Progress(9, Terminal()), 9.75, 10) == "2/9  x  0:35 left\n"


class Failing(Terminal):
    """A stream that cannot be written to: when something is written, or once it is flushed."""

    def __init__(self, when):
        super().__init__()
        setattr(self, when, self.fail)

    def fail(self, *_):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("when", ["write", "flush"])
def test_output_that_cannot_be_written_is_lost_and_the_work_goes_on(when):
    bar = Progress(2, Failing(when), every=0)
    bar.update(1, "x")
    bar.line("y")
    bar.update(2, "x")
    assert bar.lost.errno == 28


def test_without_any_stream_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    bar = Progress(1, every=0)
    bar.update(1, "x")
    bar.line("y")
    assert bar.lost is None


def test_in_a_pipe_there_is_a_line_every_ten_seconds(clocks):
    assert shown(clocks, Progress(9, io.StringIO()), 9.75, 10, 19.75, 20.5) == (
        "2/9  x  0:35 left\n4/9  x  0:26 left\n")
    assert shown(clocks, Progress(2, io.StringIO()), 1, 2) == "2/2  x  0:00 left\n"
    assert shown(clocks, Progress(3, io.StringIO(), every=0), 1, 1) == (
        "1/3  x  0:02 left\n2/3  x  0:00 left\n")


def test_work_that_is_done_sooner_than_patience_shows_nothing(clocks):
    for stream in (Terminal(), io.StringIO()):
        assert shown(clocks, Progress(3, stream, patience=5), 1, 2, 4.75) == ""
    assert shown(clocks, Progress(3, Terminal(), patience=5), 1, 5, 7.5) == (
        "\r2/3  x  0:02 left\r3/3  x  0:00 left")
    assert shown(clocks, Progress(3, io.StringIO(), patience=5), 1, 10, 11) == (
        "2/3  x  0:05 left\n")                             # and no last line


def test_the_time_of_steps_that_an_earlier_run_took_does_not_count(clocks):
    resumed = Progress(10, io.StringIO(), every=0)
    clocks[0] += 2
    resumed.update(9, "x")
    assert resumed.stream.getvalue() == "9/10  x  0:02 left\n"


def test_after_a_with_block_the_line_is_wiped_whatever_ended_it():
    bar = Progress(2, Terminal(), every=0)
    with pytest.raises(KeyboardInterrupt), bar:
        bar.update(1, "x")
        raise KeyboardInterrupt
    assert bar.stream.getvalue() == "\r1/2  x  0:00 left\r" + 19 * " " + "\r"


def test_a_line_that_stays_takes_the_place_of_the_one_that_renews_itself():
    terminal, pipe = Progress(1, Terminal(), every=0), Progress(1, io.StringIO(), every=0)
    for bar in (terminal, pipe):
        bar.update(1, "x")
        bar.line("done")
        bar.clear()
    assert terminal.stream.getvalue() == "\r1/1  x  0:00 left\r" + 19 * " " + "\rdone\n"
    assert pipe.stream.getvalue() == "1/1  x  0:00 left\ndone\n"
    assert Progress(1).stream is sys.stdout


def test_clock():
    assert [clock(s) for s in (0, 59.6, 75, 3600, 7325)] == [
        "0:00", "1:00", "1:15", "1:00:00", "2:02:05"]


@pytest.fixture
def handled():
    """All signals have a handler, also where the tests run with one ignored (nohup, &)."""
    before = {number: signal.signal(number, signal.default_int_handler)
              for number in Interruptible.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", Interruptible.SIGNALS)
def test_interruptible_asks_first_and_raises_then(number, handled):
    """But for SIGHUP: a shell that ends sends it again, after the terminal's own."""
    before = signal.getsignal(number)
    with Interruptible() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
            assert number == signal.SIGHUP
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", Interruptible.SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    """SIGHUP under nohup, SIGINT in a script's job (&)."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruptible() as interrupt:
            signal.raise_signal(number)
            assert not interrupt.asked
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
