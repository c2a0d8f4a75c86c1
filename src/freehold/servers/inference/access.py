"""What is asked before a server starts: whether others are let in without a key, and what the policy says."""

from __future__ import annotations

from collections.abc import Sequence

from freehold.core.errors import UsageError
from freehold.models.store import Store
from freehold.servers.inference.api_keys import Keys
from freehold.servers.listening import is_loopback
from freehold.trust.gate import Say, permit_models, quiet


def permit(
    store: Store, names: Sequence[str], host: str, key: str, override: str = "", say: Say = quiet
) -> None:
    """Raises UsageError where others would be let in without a key, PolicyDenied where the policy denies it.

    ``override``: the reason for going against the policy, which is recorded. Raises NotFound too.
    """
    check_key(store, host, key)
    permit_models(store, "serve", [store.find(name) for name in names], override, say)


def check_key(store: Store, host: str, key: str) -> None:
    """Raises UsageError where other machines can reach the server and there is no key."""
    if not is_loopback(host) and not key and not Keys(store).any():
        raise UsageError(
            f"listening on {host} lets other machines in, and there is no key",
            "create one: freehold key create NAME; or listen on 127.0.0.1",
        )
