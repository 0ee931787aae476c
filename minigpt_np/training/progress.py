"""Progress display, and interruption between steps."""
import os
import shutil
import signal
import sys
import time


class Progress:
    """One line that renews itself on a terminal; a line now and then in a pipe.

    At the end of a `with` block the line that renews itself is wiped, after an error too.

    total      steps in all; update(done, text) tells how many are done
    stream     sys.stdout unless given. Lines that cannot be written (a closed pipe, a full disk)
               are lost, `lost` is then the error, and the work goes on
    every      seconds between lines: 0.1 on a terminal, else 10, unless given
    patience   seconds before the first line: short work shows nothing. With 0 the last step always
               has a line
    """

    def __init__(self, total, stream=None, every=None, patience=0):
        self.total, self.patience = total, patience
        self.stream, self.lost = stream or sys.stdout, None
        self.terminal = (self.stream is not None and self.stream.isatty()
                         and os.environ.get("TERM") != "dumb")
        self.every = every if every is not None else 0.1 if self.terminal else 10
        self.begin = self.shown = time.monotonic()
        self.first = None           # steps that were done before the first update: a resumed run's
        self.columns = 0            # of the line that renews itself, as it stands there now

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clear()

    def update(self, done, text):
        """Show `text` after `done` of the steps, with the time left, if it is time to."""
        if self.first is None:
            self.first = done - 1
        now = time.monotonic()
        last = done >= self.total and not self.patience
        if now - self.begin < self.patience or now - self.shown < self.every and not last:
            return
        self.shown = now
        left = (now - self.begin) / (done - self.first) * (self.total - done)
        line = f"{done}/{self.total}  {text}  {clock(left)} left"
        if not self.terminal:
            return self.write(line + "\n")
        line = line[:shutil.get_terminal_size().columns - 3]        # and ^C would still not wrap
        self.write("\r" + line.ljust(self.columns))
        self.columns = len(line)

    def line(self, text):
        """A line that stays."""
        self.clear()
        self.write(text + "\n")

    def clear(self):
        """Wipe the line that renews itself, and the ^C that a terminal shows behind it."""
        if self.columns:
            self.write("\r" + " " * (self.columns + 2) + "\r")
            self.columns = 0

    def write(self, text):
        """Write and flush, or lose the text, where there is no stream or it fails."""
        if self.stream is None or self.lost:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            self.lost = error


def clock(seconds):
    """75 -> '1:15'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Interruptible:
    """While the `with` block runs, Ctrl-C (SIGINT), SIGTERM or SIGHUP (a terminal that closes) sets
    `.asked` instead of raising or killing. A signal that is ignored, as SIGHUP under nohup and
    SIGINT in a script's job (&), stays ignored.

    The loop inside looks at it between two steps. A second SIGINT or SIGTERM raises
    KeyboardInterrupt at once. Only the main thread may use it: no other gets signals.
    """
    ASK_TWICE = signal.SIGINT, signal.SIGTERM
    SIGNALS = (*ASK_TWICE, signal.SIGHUP) if hasattr(signal, "SIGHUP") else ASK_TWICE

    def __enter__(self):
        self.asked, self._before = False, {}
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._ask)
            if self._before[number] == signal.SIG_IGN:
                signal.signal(number, signal.SIG_IGN)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked and number in self.ASK_TWICE:
            raise KeyboardInterrupt
        self.asked = True
