"""Options of a server and of the engines behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from freehold.servers.web.connections import Limits
from freehold.servers.web.site import Site


@dataclass(frozen=True)
class PoolOptions:
    """How models are opened."""

    #: tokens of all running answers of a model together
    context_length: int = 8192
    #: answers at once, of each model
    parallel: int = 8
    #: memory of all models together; 0: no limit
    memory_bytes: int = 0
    #: disk for the states of long prompts; 0: none are kept
    state_bytes: int = 2 << 30
    #: whether prompt lookup offers draft tokens
    prompt_lookup: bool = True
    #: whether the same request must have the same answer, whatever else is asked
    reproducible: bool = False
    #: processor threads of each model; 0: as many as this process may use
    threads: int = 0
    #: layers of each model on graphics cards; None: as many as fit there
    gpu_layers: int | None = None
    #: whether models are asked in the answer form in which they were measured
    forms: bool = True
    #: whose computed prompts a request may reuse: its key's (``key``), its key's group's (``group``)
    #: or everybody's (``all``)
    sharing: str = "group"


@dataclass(frozen=True)
class ServerOptions:
    """How a server behaves."""

    #: whether it listens on this machine only
    loopback: bool = True
    #: a key that is valid beside those in the store
    key: str = ""
    #: requests that may wait; further ones get 429
    queue_length: int = 64
    #: the longest that an answer may take, in seconds; 0: no limit
    deadline_s: float = 600.0
    #: the largest body of a request
    max_body_bytes: int = 10 << 20
    #: its names, and the sites whose pages may send requests (CORS)
    site: Site = field(default_factory=Site)
    #: limits of connections
    limits: Limits = field(default_factory=Limits)
    #: address of an OpenTelemetry collector
    traces: str = ""
    #: where prompts and answers are written; nowhere if None
    log_folder: Path | None = None
    #: for how many days each day's file of prompts is kept
    log_days: int = 0
    #: how models are opened
    engine: PoolOptions = field(default_factory=PoolOptions)
