"""Prints which share of each room's statements the tests ran: ``make coverage``.

Only what runs in the tests' own processes counts: steps of a trial, servers and verbs that a test starts as
processes are not seen.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from coverage import Coverage

SOURCE = Path(__file__).parents[1] / "src" / "freehold"


def rooms(data_file: str = ".coverage") -> dict[str, tuple[int, int]]:
    """Room -> (statements, statements that were run), of everything that was measured."""
    coverage = Coverage(data_file=data_file)
    coverage.load()
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in SOURCE.rglob("*.py"):
        _, statements, _, missing, _ = coverage.analysis2(str(path))
        inside = path.relative_to(SOURCE).parts
        room = counts["/".join(inside[:2]) if inside[0] == "servers" and len(inside) > 2 else inside[0]]
        room[0] += len(statements)
        room[1] += len(statements) - len(missing)
    return {name: (count[0], count[1]) for name, count in sorted(counts.items()) if count[0]}


def main() -> None:
    """Print a line for each room, and one for all."""
    measured = rooms()
    measured["all"] = (sum(a for a, _ in measured.values()), sum(b for _, b in measured.values()))
    for name, (statements, run) in measured.items():
        print(f"{name:20} {run / statements:6.1%} of {statements:6,} statements")


if __name__ == "__main__":
    main()
