"""The API one would rent: recorded answers, or an OpenAI-compatible server asked now, on the same test rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from freehold import durable, settings
from freehold.data.examples import Example
from freehold.errors import BadData, FreeholdError, NotFound
from freehold.evals.measure import Answer
from freehold.evals.metrics import Metric
from freehold.progress import Sink, task


@dataclass(frozen=True)
class Endpoint:
    """Where the rows go, as which model, with the key from which environment variable."""

    url: str
    model: str
    key_env: str


def recorded(path: Path, metric: Metric, examples: Sequence[Example]) -> list[Answer]:
    """Grade ``{"id": ..., "answer": ...}`` lines on the rows they name. Raises NotFound, BadData."""
    if not path.is_file():
        raise NotFound(f"there is no file {path} of recorded answers", "check --rival")
    given: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            given[str(row["id"])] = str(row["answer"])
        except (ValueError, KeyError, TypeError) as error:
            faults.append(
                f"{path.name}:{number}: needs fields 'id' and 'answer' ({type(error).__name__}: {error})"
            )
    if faults:
        raise BadData(
            f"{len(faults)} faults in {path}:\n  " + "\n  ".join(faults[:20]), "mend these lines", faults
        )
    matching = [example for example in examples if example.id in given]
    if not matching:
        raise BadData(
            f"{path} answers none of the test rows",
            f"its ids must be those of the test rows, such as {examples[0].id!r}",
        )
    return [Answer(e.id, given[e.id], metric.grade(e, given[e.id]), "stop", 0, 0) for e in matching]


def asked(
    endpoint: Endpoint, metric: Metric, examples: Sequence[Example], max_tokens: int, kept: Path, sink: Sink
) -> list[Answer]:
    """Ask the server for every row; each answer is kept as it comes, so nothing is paid for twice. Raises UsageError, FreeholdError."""
    import httpx

    key = settings.secret(endpoint.key_env, "key")
    found = [Answer(**json.loads(line)) for line in durable.read_lines(kept)]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        httpx.Client(headers=headers, timeout=120) as client,
        task(sink, f"asking {endpoint.model}", len(examples), "rows") as progress,
    ):
        progress.resume(len(found))
        for example in examples[len(found) :]:
            body = {
                "model": endpoint.model, "max_tokens": max_tokens, "temperature": 0,
                "messages": [{"role": role, "content": content} for role, content in example.prompt],
            }  # fmt: skip
            value = _post(client, endpoint.url.rstrip("/") + "/chat/completions", body)
            text = value["choices"][0]["message"]["content"] or ""
            usage = value.get("usage") or {}
            finish = value["choices"][0].get("finish_reason") or ""
            answer = Answer(
                example.id,
                text,
                metric.grade(example, text),
                finish,
                usage.get("prompt_tokens", 0),
                usage.get("completion_tokens", 0),
            )
            durable.append_line(kept, json.dumps(asdict(answer), ensure_ascii=False))
            found.append(answer)
            progress.more(1)
    return found


def _post(client: Any, url: str, body: dict[str, object]) -> Any:
    import httpx

    for attempt in range(6):
        try:
            response = client.post(url, json=body)
        except httpx.HTTPError as error:
            raise FreeholdError(
                f"{url} could not be asked ({error})", "check --rival-endpoint; answers so far are kept"
            ) from error
        if response.status_code in (429, 503) and attempt < 5:
            time.sleep(min(float(response.headers.get("retry-after", 2**attempt)), 60))
            continue
        if response.status_code != 200:
            raise FreeholdError(
                f"{url} answered {response.status_code} ({response.text[:200]})",
                "check the model name and the key; answers so far are kept",
            )
        return response.json()
    raise AssertionError
