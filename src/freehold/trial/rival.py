"""The API one would rent, measured on the same rows and under the same conditions as the models here.

Zero-shot and few-shot are compared on the validation rows, and the better one answers the test rows. Every
answer is saved with a digest of its request, so nothing is paid for twice, and a changed request is sent
again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core import atomic_files, settings
from freehold.core.errors import FreeholdError
from freehold.core.progress import Sink, Task, task
from freehold.data.examples import Example
from freehold.data.values import json_value
from freehold.evaluation import measurement
from freehold.evaluation.answer_reading import cut_in_thought, final_answer
from freehold.evaluation.measurement import Answer, Ask
from freehold.evaluation.metrics import Metric
from freehold.evaluation.task_kinds import unfenced
from freehold.trial.rival_client import Client, Rejected, Reply
from freehold.trial.rival_dialect import Dialect, RequestBody, binds, body, decisive

if TYPE_CHECKING:
    from concurrent.futures import Future

#: The longest answer that is allowed to a model which reasons before it answers.
MOST_TOKENS = 16384
#: Test rows that are asked one at a time, for the waits of one user; the others go several at once.
LONE_ROWS, PARALLEL = 72, 4
#: Seconds to wait for requests under way when asking is stopped.
_LAST_REPLIES_S = 10.0


@dataclass(frozen=True)
class Endpoint:
    """Where the rows are sent."""

    #: address before ``/chat/completions``
    url: str
    #: name of the model there
    model: str
    #: environment variable that holds the key, "" for none
    key_env: str


@dataclass(frozen=True)
class SavedReply:
    """One reply as it is saved."""

    #: digest of the request without its token limit
    asked: str
    #: id of the row
    row: str
    #: the longest answer that was allowed, in tokens
    limit: int
    #: whether it was the only request at that time
    lone: bool
    #: what the server answered
    reply: Reply

    def line(self) -> str:
        """As a line of the file of saved replies."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def of(line: str) -> SavedReply:
        """Inverse of ``line``."""
        value = json.loads(line)
        return SavedReply(**{**value, "reply": Reply(**value["reply"])})

    @property
    def cut(self) -> bool:
        """Whether the answer ended at the limit."""
        return self.reply.finish == "length"


@dataclass(frozen=True)
class Spent:
    """What all requests together took, including those on validation rows and those with cut answers."""

    #: requests that were answered
    requests: int = 0
    #: tokens of prompts
    prompt_tokens: int = 0
    #: prompt tokens that the server had cached
    cached_tokens: int = 0
    #: tokens of answers, hidden reasoning included
    answer_tokens: int = 0
    #: hidden reasoning tokens
    reasoning_tokens: int = 0
    #: requests for which the server counted no tokens
    uncounted: int = 0


@dataclass(frozen=True)
class Rival:
    """A rival's answers to the test rows, and how they were obtained. Empty answers count as wrong."""

    #: name for people
    title: str
    #: graded answers to test rows
    answers: tuple[Answer, ...]
    #: zero-shot, few-shot, or "" where that is unknown
    how: str = ""
    #: how the rows were asked, as sentences
    conditions: tuple[str, ...] = ()
    #: answers that a content filter withheld
    refused: int = 0
    #: answers that ended at the token limit
    cut: int = 0
    #: rows that the server did not accept
    rejected: int = 0
    #: milliseconds of test rows that were asked one at a time
    waits_ms: tuple[float, ...] = ()
    #: what all requests took
    spent: Spent = Spent()
    #: mean score on the rows that chose between zero-shot and few-shot
    chosen_by: dict[str, float] = field(default_factory=dict)
    #: how many rows chose
    chosen_rows: int = 0


def asks(labels: Sequence[str], shots: Sequence[Example], max_tokens: int) -> dict[str, Ask]:
    """Zero-shot and, where there are worked examples, few-shot, as for the models here."""
    ways = {"zero-shot": Ask((), tuple(labels), max_tokens)}
    if shots:
        ways["few-shot"] = Ask(tuple(shot.messages for shot in shots), tuple(labels), max_tokens)
    return ways


def measured(
    endpoint: Endpoint,
    metric: Metric,
    ways: dict[str, Ask],
    valid: Sequence[Example],
    test: Sequence[Example],
    saved: Path,
    sink: Sink,
    *,
    lone_rows: int = LONE_ROWS,
    pause: Callable[[float], bool] | None = None,
) -> Rival:
    """Ask the server. ``ways``: how rows are asked, by "zero-shot" and "few-shot", as for the models here.

    Without validation rows the choice is made on the test rows, and the conditions say so. ``saved``: the
    file of saved replies. Raises UsageError, FreeholdError; after an interruption the answers so far are
    still there.
    """
    client = Client(endpoint.url, settings.secret(endpoint.key_env, "key"), pause=pause)
    try:
        session = _Session(client, endpoint.model, metric, saved, sink)
        rows = valid or test
        lone = 0 if valid else lone_rows
        replies_of = {
            how: session.rows(ask, rows, f"{endpoint.model} {how}", lone) for how, ask in ways.items()
        }
        scores = {
            how: sum(session.graded(ways[how], rows, replies)) / len(rows)
            for how, replies in replies_of.items()
        }
        how = max(scores, key=lambda name: scores[name])  # the first of equals, and zero-shot is the first
        replies = session.rows(ways[how], test, f"{endpoint.model} {how}, test rows", lone_rows)
        return session.rival(endpoint, ways, how, test, replies, scores, len(rows), chosen_on_test=not valid)
    finally:
        client.close()


class _Session:
    """One server: what its requests may hold, the longest answer allowed to it, and the saved replies."""

    def __init__(self, client: Client, model: str, metric: Metric, saved: Path, sink: Sink):
        self.client, self.model, self.metric, self.path, self.sink = client, model, metric, saved, sink
        self.lock = threading.Lock()
        self.lines = [SavedReply.of(line) for line in atomic_files.read_lines(saved)]
        self.settled = saved.with_suffix(".dialect.json")
        value = json.loads(self.settled.read_text()) if self.settled.exists() else {"dialect": {}, "limit": 0}
        self.dialect, self.limit = Dialect(**value["dialect"]), int(value["limit"])
        self.binding_works = any(_label_in(entry.reply.text) is not None for entry in self.lines)

    # -- asking -----------------------------------------------------------------------------

    def rows(self, ask: Ask, examples: Sequence[Example], title: str, lone_rows: int) -> list[SavedReply]:
        """The replies to the rows in order, the first ``lone_rows`` of them asked one at a time."""
        with task(self.sink, f"asking {title}", len(examples), "rows") as progress:
            progress.resume(len(examples) - len(self._missing(ask, examples)))
            # the request's form may change on the way: rows that were asked in another form are asked again
            while missing := self._missing(ask, examples):
                lone = max(lone_rows - (len(examples) - len(missing)), 1)
                for example in missing[:lone]:
                    self._row(ask, example, lone=True)
                    progress.more(1)
                self._several(ask, missing[lone:], progress)
        known = self._known()
        return [known[self._digest(ask, example)] for example in examples]

    def _several(self, ask: Ask, examples: Sequence[Example], progress: Task) -> None:
        from concurrent.futures import ThreadPoolExecutor, as_completed, wait

        if not examples:
            return
        pool = ThreadPoolExecutor(PARALLEL)
        futures: list[Future[None]] = [
            pool.submit(self._row, ask, example, lone=False) for example in examples
        ]
        try:
            for future in as_completed(futures):
                future.result()
                progress.more(1)
        except BaseException:
            self.client.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            wait(
                futures, timeout=_LAST_REPLIES_S
            )  # requests under way are paid for, so their replies are saved
            raise
        pool.shutdown()

    def _row(self, ask: Ask, example: Example, *, lone: bool) -> None:
        """Ask one row until there is an answer that counts, and learn what the server accepts."""
        while True:
            dialect, limit = self.dialect, max(self.limit, ask.max_tokens)
            request = body(self.model, dialect, ask, example, limit, self.metric.unknown)
            try:
                reply = self.client.ask(request)
            except Rejected as refusal:
                if self._learned(dialect, refusal):
                    continue
                reply = self._not_answered(refusal)
            self._save(SavedReply(self._asked(request), example.id, limit, lone, reply))
            if not self._again(dialect, ask, limit, reply):
                return

    def _learned(self, dialect: Dialect, refusal: Rejected) -> bool:
        if refusal.filtered:
            return False
        changed = dialect.learn(refusal.message)
        if changed is not None:
            self._settle(dialect, changed, self.limit)
        return changed is not None

    def _not_answered(self, refusal: Rejected) -> Reply:
        """The empty reply for a row without an answer. Raises FreeholdError where other rows fail too."""
        if not refusal.filtered:
            finishes = [entry.reply.finish for entry in self.lines]
            rejected = finishes.count("rejected")
            if len(finishes) == finishes.count("content_filter") or rejected > max(5, 0.1 * len(finishes)):
                raise FreeholdError(
                    f"{self.client.url} answered {refusal.status} ({refusal.message[:300]})",
                    "check the model name and the address; the answers so far are saved",
                ) from refusal
        finish = "content_filter" if refusal.filtered else "rejected"
        return Reply("", finish, 0, 0, 0, 0, 0.0, 1)

    def _again(self, dialect: Dialect, ask: Ask, limit: int, reply: Reply) -> bool:
        """Whether to ask in another form: the schema had no effect, or hidden reasoning used up the limit."""
        if binds(dialect, ask) and reply.finish == "stop" and not self.binding_works:
            self.binding_works = _label_in(reply.text) is not None
            if not self.binding_works:
                self._settle(dialect, replace(dialect, schema=False), self.limit)
                return True
        if reply.finish != "length" or not _starved(dialect, ask, reply):
            return False
        most = min(MOST_TOKENS, dialect.most_tokens or MOST_TOKENS)
        if limit < most:
            self._settle(dialect, dialect, max(self.limit, min(4 * max(limit, 256), most)))
        return limit < most

    def _settle(self, before: Dialect, dialect: Dialect, limit: int) -> None:
        with self.lock:
            if self.dialect == before:
                self.dialect = dialect
            self.limit = max(self.limit, limit)
            value = {"dialect": asdict(self.dialect), "limit": self.limit}
            atomic_files.write_atomically(self.settled, json.dumps(value))

    # -- saved replies -----------------------------------------------------------------------

    def _save(self, entry: SavedReply) -> None:
        with self.lock:
            atomic_files.append_line(self.path, entry.line())
            self.lines.append(entry)

    def _known(self) -> dict[str, SavedReply]:
        """The last reply to each request."""
        return {entry.asked: entry for entry in self.lines}

    def _asked(self, request: RequestBody) -> str:
        return atomic_files.digest_of({"url": self.client.url, **decisive(request)})

    def _digest(self, ask: Ask, example: Example) -> str:
        return self._asked(body(self.model, self.dialect, ask, example, 1, self.metric.unknown))

    def _missing(self, ask: Ask, examples: Sequence[Example]) -> list[Example]:
        known, limit = self._known(), max(self.limit, ask.max_tokens)
        most = self.dialect.most_tokens or MOST_TOKENS

        def answered(example: Example) -> bool:
            entry = known.get(self._digest(ask, example))
            return entry is not None and (not entry.cut or entry.limit >= min(limit, most))

        return [example for example in examples if not answered(example)]

    # -- the record ----------------------------------------------------------------------------

    def graded(self, ask: Ask, examples: Sequence[Example], replies: Sequence[SavedReply]) -> list[float]:
        """Scores of the replies, graded like answers of the models here."""
        return [answer.score for answer in self._answers(ask, examples, replies)]

    def _answers(self, ask: Ask, examples: Sequence[Example], replies: Sequence[SavedReply]) -> list[Answer]:
        bound = binds(self.dialect, ask)
        answers: list[Answer] = []
        for example, entry in zip(examples, replies, strict=True):
            reply = entry.reply
            text = (_label_in(reply.text) if bound else None) or reply.text
            counts = reply.prompt_tokens or 0, reply.answer_tokens or 0
            answers.append(measurement.graded(self.metric, example, text, reply.finish, *counts))
        return answers

    def rival(
        self,
        endpoint: Endpoint,
        ways: dict[str, Ask],
        how: str,
        test: Sequence[Example],
        replies: Sequence[SavedReply],
        scores: dict[str, float],
        rows: int,
        *,
        chosen_on_test: bool,
    ) -> Rival:
        """Everything as one record."""
        finishes = [entry.reply.finish for entry in replies]
        lone = [entry for entry in replies if entry.lone and entry.reply.seconds]
        record = Rival(
            title=f"{endpoint.model} at {endpoint.url}",
            answers=tuple(self._answers(ways[how], test, replies)),
            how=how,
            refused=finishes.count("content_filter"),
            cut=finishes.count("length"),
            rejected=finishes.count("rejected"),
            waits_ms=tuple(entry.reply.seconds * 1000 for entry in lone),
            spent=_spent(self.lines),
            chosen_by=scores,
            chosen_rows=rows,
        )
        return replace(record, conditions=tuple(self._conditions(ways[how], record, chosen_on_test)))

    def _conditions(self, ask: Ask, rival: Rival, chosen_on_test: bool) -> list[str]:
        """How the rows were asked and what is unusual about the answers, as sentences."""
        bound = binds(self.dialect, ask)
        limit = max(self.limit, ask.max_tokens)
        compared = " and ".join(f"{how} {score:.3f}" for how, score in rival.chosen_by.items())
        rows = f"{rival.chosen_rows:,} {'test' if chosen_on_test else 'validation'} rows"
        better = f"the better on {rows} ({compared})"
        sentences = [f"{rival.how}, {better if len(rival.chosen_by) > 1 else 'the only form asked'}"]
        if ask.shots:
            sentences.append(f"the same {len(ask.shots)} worked examples as for the models here")
        if ask.labels and bound:
            sentences.append("a JSON schema limits answers to the labels, and the prompt lists the labels")
        elif ask.labels:
            sentences.append("the prompt lists the labels; the server accepts no JSON schema")
        sentences.append(
            "temperature 0"
            if self.dialect.temperature
            else "the server's own temperature, as it accepts no other"
        )
        raised = (
            f", raised from {ask.max_tokens:,} as the model reasons first" if limit > ask.max_tokens else ""
        )
        sentences.append(f"answers of at most {limit:,} tokens{raised}")
        return [*sentences, *oddities(rival, len(rival.answers))]


def oddities(rival: Rival, rows: int) -> list[str]:
    """What a reader must know about the answers, as sentences."""
    sentences: list[str] = []
    if rival.refused:
        sentences.append(
            f"{rival.refused:,} of {rows:,} answers were withheld by a content filter and count as they came"
        )
    if rival.rejected:
        sentences.append(
            f"{rival.rejected:,} of {rows:,} rows were not accepted by the server and count as wrong"
        )
    if rival.cut:
        sentences.append(
            f"{rival.cut:,} of {rows:,} answers were cut at the token limit and are graded as they came"
        )
    spent = rival.spent
    if spent.reasoning_tokens:
        sentences.append(
            f"{spent.reasoning_tokens:,} of {spent.answer_tokens:,} answer tokens are hidden reasoning"
        )
    if rival.spent.uncounted:
        sentences.append(
            f"the server counted no tokens for {rival.spent.uncounted:,} of {rival.spent.requests:,} requests"
        )
    return sentences


def _starved(dialect: Dialect, ask: Ask, reply: Reply) -> bool:
    """Whether an answer was cut before it began, or is cut and counts only as a whole."""
    nothing = not final_answer(reply.text).strip() or cut_in_thought(reply.text)
    return nothing or reply.reasoning_tokens > 0 or binds(dialect, ask)


def _label_in(text: str) -> str | None:
    """The label of an answer that follows our schema; None where it does not."""
    try:
        value = json_value(unfenced(final_answer(text)))
    except ValueError:
        return None
    return str(value["label"]) if isinstance(value, dict) and "label" in value else None


def _spent(lines: Sequence[SavedReply]) -> Spent:
    replies = [entry.reply for entry in lines]
    return Spent(
        len(replies),
        sum(reply.prompt_tokens or 0 for reply in replies),
        sum(reply.cached_tokens for reply in replies),
        sum(reply.answer_tokens or 0 for reply in replies),
        sum(reply.reasoning_tokens for reply in replies),
        sum(reply.answer_tokens is None for reply in replies),
    )
