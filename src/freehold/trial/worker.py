"""A step's process: reads one job from standard input, reports on standard output, ends with its parent."""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path

from freehold.core import errors, progress, settings, system_errors


def _end_with_parent() -> None:
    """Standard input closes when the parent has died or has its result."""
    sys.stdin.read()
    os._exit(1)


def _error_json(error: Exception, place: Path) -> dict[str, str]:
    """The error as the parent gets it. The traceback of an unexpected one goes to the step's folder."""
    known = system_errors.explain(error)
    if known is not None:
        return errors.to_json(known)
    (place / "traceback.txt").write_text(traceback.format_exc())
    return {"kind": type(error).__name__, "message": str(error), "remedy": ""}


def main() -> None:
    """Run the job on the first line of standard input: ``{"job": NAME, "arguments": {...}}``."""
    settings.guard_process()
    settings.go_quiet()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not mix with our lines
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from freehold.trial import jobs

    answer: dict[str, object]
    try:
        answer = {"result": jobs.run(request["job"], request["arguments"], progress.Pipe(out))}
    except Exception as error:
        answer = {"error": _error_json(error, Path(request["arguments"]["place"]))}
    print(json.dumps(answer), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
