"""Progress with the time left, on a terminal, in a log, or across a pipe from a child process."""

from __future__ import annotations

import contextlib
import html
import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from freehold.core import terminal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One report: ``done`` of ``total`` units of the step ``title``; ``total`` 0 if not known.

    ``before``: units that an earlier, broken run had done; they say nothing about this run's speed.
    """

    title: str
    done: float
    total: float
    unit: str
    elapsed_s: float
    note: str = ""
    ended: bool = False
    before: float = 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the speed so far; None while unknown."""
        done_now = self.done - self.before
        if not self.total or done_now <= 0 or self.elapsed_s < 0.5:
            return None
        return self.elapsed_s * max(self.total - self.done, 0.0) / done_now


Sink = Callable[[Event], None]


def silent(_: Event) -> None:
    """Show nothing."""


class Terminal:
    """One line, rewritten in place."""

    def __init__(self, stream: IO[str]):
        self.stream, self.last = stream, 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if not event.ended and now - self.last < 0.1:
            return
        self.last = now
        import shutil

        width = shutil.get_terminal_size().columns - 1
        stream = terminal.raw(self.stream)
        stream.write("\r\x1b[K" + describe(event)[:width] + ("\n" if event.ended else ""))
        stream.flush()


class Notebook:
    """A bar for each step, in the output of a notebook's cell."""

    def __init__(self) -> None:
        self._last, self._title = 0.0, ""
        self._handle: Any = None

    def __call__(self, event: Event) -> None:
        ipython: Any = importlib.import_module("IPython.display")  # without types
        now = time.monotonic()
        begun = event.title != self._title or self._handle is None
        if not begun and not event.ended and now - self._last < 0.2:
            return
        self._last, self._title = now, event.title
        done = f' value="{event.done:g}" max="{event.total:g}"' if event.total else ""
        bar = "" if event.ended else f"<progress{done}></progress> "
        shown = ipython.HTML(f"<div>{bar}{html.escape(describe(event))}</div>")
        if begun:
            self._handle = ipython.display(shown, display_id=True)
        elif self._handle is not None:
            self._handle.update(shown)
        if event.ended:
            self._handle = None


class Log:
    """A line at the start, at the end and every few seconds between."""

    def __init__(self, stream: IO[str], every_s: float = 15.0):
        self.stream, self.every_s, self.last, self.title = stream, every_s, 0.0, ""

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.title == self.title and not event.ended and now - self.last < self.every_s:
            return
        self.last, self.title = now, event.title
        print(describe(event), file=self.stream, flush=True)


class Pipe:
    """JSON lines for the parent process."""

    def __init__(self, stream: IO[str]):
        self.stream, self.last = stream, 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.ended or now - self.last >= 0.2:
            self.last = now
            print(json.dumps({"progress": asdict(event)}), file=self.stream, flush=True)


def for_stream(stream: IO[str] | None = None) -> Sink:
    """The sink that suits ``stream`` (standard error by default)."""
    chosen = sys.stderr if stream is None else stream
    return Terminal(chosen) if chosen.isatty() else Log(chosen)


def automatic() -> Sink:
    """The sink for Python programs: a bar in a notebook, a line on a terminal, else nothing."""
    if _in_notebook():
        return Notebook()
    return Terminal(sys.stderr) if sys.stderr.isatty() else silent


def _in_notebook() -> bool:
    """Whether this process runs the cells of a notebook: only there is output shown as HTML."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def describe(event: Event) -> str:
    """The event as one line for people."""
    if event.total and event.unit == "bytes":
        amount = f"{event.done / 1e6:,.0f} of {event.total / 1e6:,.0f} MB"
    elif event.total:
        amount = f"{event.done:,.0f} of {event.total:,.0f} {event.unit}"
    else:
        amount = f"{event.done:,.0f} {event.unit}" if event.done else ""
    left = event.left_s
    when = (
        duration(event.elapsed_s) if event.ended else (f"{duration(left)} left" if left is not None else "")
    )
    return "  ".join(terminal.line(part) for part in (event.title, amount, when, event.note) if part)


def duration(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def spark(values: Sequence[float], width: int = 24) -> str:
    """The values as a line of bars, each the mean of its share of them; the highest bar is the largest
    mean.
    """
    if not values:
        return ""
    count = min(width, len(values))
    means = [
        sum(part) / len(part)
        for i in range(count)
        if (part := values[i * len(values) // count : (i + 1) * len(values) // count])
    ]
    low, high = min(means), max(means)
    bars = "▁▂▃▄▅▆▇█"
    return "".join(bars[round((value - low) / (high - low) * 7) if high > low else 0] for value in means)


class Task:
    """A step under way; call :meth:`at` with the units done so far."""

    def __init__(self, sink: Sink, title: str, total: float, unit: str):
        self.sink, self.title, self.total, self.unit = sink, title, total, unit
        self.started, self.done, self.before, self.note = time.monotonic(), 0.0, 0.0, ""
        self.at(0)

    def resume(self, done: float) -> None:
        """Go on from units that an earlier run had done."""
        self.before = done
        self.at(done)

    def at(self, done: float, note: str | None = None, *, ended: bool = False) -> None:
        """Report ``done`` units, and what is worth saying of them."""
        self.done = done
        self.note = self.note if note is None else note
        self.sink(
            Event(
                self.title,
                done,
                self.total,
                self.unit,
                time.monotonic() - self.started,
                self.note,
                ended,
                self.before,
            )
        )

    def more(self, units: float) -> None:
        """Report ``units`` more."""
        self.at(self.done + units)


@contextlib.contextmanager
def task(sink: Sink, title: str, total: float = 0, unit: str = "") -> Generator[Task]:
    """A step's progress; the last line is printed when it ends well."""
    running = Task(sink, title, total, unit)
    log.debug("started: %s (%g %s)", title, total, unit)
    yield running
    running.at(running.done, ended=True)
    log.debug("finished: %s, %g %s, %.1f s", title, running.done, unit, time.monotonic() - running.started)
