"""freehold gc"""

from __future__ import annotations

from freehold.cli.output import Json, print_json
from freehold.core.wording import counted

NAME = "gc"
NEEDS_ARGUMENTS = False


def command(json: Json = False) -> None:
    """Delete files that no model uses, and leftovers of pulls that were killed over an hour ago.

    Example: freehold gc
    """
    from freehold.models.store import Store

    count, freed = Store().collect()
    if json:
        print_json({"files": count, "bytes": freed})
    else:
        print(f"removed {counted(count, 'file')}, {freed / 1e6:.1f} MB")
