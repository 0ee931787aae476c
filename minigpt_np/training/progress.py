"""What long work shows while it runs, and how it is stopped without losing anything."""
import signal
import sys
import time


class Progress:
    """One line that renews itself on a terminal; a line now and then in a pipe.

    total      steps in all; update(done, text) tells how many are done
    every      seconds between lines: 0.1 on a terminal, else 10, unless given
    patience   seconds before the first line: short work shows nothing; unless it is 0, the end forces no last line
    """

    def __init__(self, total, stream=None, every=None, patience=0):
        self.total, self.patience = total, patience
        self.stream = stream or sys.stdout
        self.terminal = self.stream.isatty()
        self.every = every if every is not None else 0.1 if self.terminal else 10
        self.begin = self.shown = time.monotonic()
        self.first = None           # steps that were done before the first update: a resumed run's

    def update(self, done, text):
        """Show `text` after `done` of the steps, with the time left, if it is time to show something."""
        if self.first is None:
            self.first = done - 1
        now = time.monotonic()
        last = done >= self.total and not self.patience
        if now - self.begin < self.patience or now - self.shown < self.every and not last:
            return
        self.shown = now
        left = (now - self.begin) / (done - self.first) * (self.total - done)
        line = f"{done}/{self.total}  {text}  {clock(left)} left"
        self.stream.write(f"\r{line}\x1b[K" if self.terminal else line + "\n")
        self.stream.flush()

    def line(self, text):
        """A line that stays."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self):
        """Wipe the line that renews itself."""
        if self.terminal:
            self.stream.write("\r\x1b[K")
            self.stream.flush()


def clock(seconds):
    """75 -> '1:15'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Interruptible:
    """While the `with` block runs, Ctrl-C (SIGINT) or SIGTERM sets `.asked` instead of raising.

    The loop inside looks at it where everything is whole, between two steps. A second signal raises
    KeyboardInterrupt at once. Only the main thread may use it: no other gets signals.
    """

    def __enter__(self):
        self.asked = False
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
