"""Progress: a line that renews itself on a terminal, lines now and then in a pipe. Ctrl-C: asked first."""
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
        "\r2/4  x  0:00 left\x1b[K\r4/4  x  0:00 left\x1b[K")         # the last is always shown
    assert shown(clocks, Progress(3, Terminal()), 0.105, 0.3) == "\r1/3  x  0:00 left\x1b[K\r2/3  x  0:00 left\x1b[K"


def test_in_a_pipe_there_is_a_line_every_ten_seconds(clocks):
    assert shown(clocks, Progress(9, io.StringIO()), 9.75, 10, 19.75, 20.5) == "2/9  x  0:35 left\n4/9  x  0:26 left\n"
    assert shown(clocks, Progress(2, io.StringIO()), 1, 2) == "2/2  x  0:00 left\n"
    assert shown(clocks, Progress(3, io.StringIO(), every=0), 1, 1) == "1/3  x  0:02 left\n2/3  x  0:00 left\n"


def test_work_that_is_done_sooner_than_patience_shows_nothing(clocks):
    for stream in (Terminal(), io.StringIO()):
        assert shown(clocks, Progress(3, stream, patience=5), 1, 2, 4.75) == ""
    assert shown(clocks, Progress(3, Terminal(), patience=5), 1, 5, 7.5) == (
        "\r2/3  x  0:02 left\x1b[K\r3/3  x  0:00 left\x1b[K")
    assert shown(clocks, Progress(3, io.StringIO(), patience=5), 1, 10, 11) == "2/3  x  0:05 left\n"      # and no last line


def test_the_time_of_steps_that_an_earlier_run_took_does_not_count(clocks):
    resumed = Progress(10, io.StringIO(), every=0)
    clocks[0] += 2
    resumed.update(9, "x")
    assert resumed.stream.getvalue() == "9/10  x  0:02 left\n"


def test_a_line_that_stays_takes_the_place_of_the_one_that_renews_itself():
    terminal, pipe = Progress(1, Terminal()), Progress(1, io.StringIO())
    for bar in (terminal, pipe):
        bar.line("done")
        bar.clear()
    assert terminal.stream.getvalue() == "\r\x1b[Kdone\n\r\x1b[K" and pipe.stream.getvalue() == "done\n"
    assert Progress(1).stream is sys.stdout


def test_what_is_shown_is_seen_at_once():
    class Stream(Terminal):
        flushed = ""

        def flush(self):
            self.flushed = self.getvalue()

    bar = Progress(1, Stream())
    for show in (lambda: bar.update(1, "x"), lambda: bar.line("y"), bar.clear):
        show()
        assert bar.stream.flushed == bar.stream.getvalue()


def test_clock():
    assert [clock(s) for s in (0, 59.6, 75, 3600, 7325)] == ["0:00", "1:00", "1:15", "1:00:00", "2:02:05"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruptible_asks_first_and_raises_then(number):
    before = signal.getsignal(number)
    with Interruptible() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before
