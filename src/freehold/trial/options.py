"""What decides a trial besides its rows and its models."""

from __future__ import annotations

from dataclasses import dataclass, field

from freehold.costs.money import CostOptions
from freehold.quantization.quantize import TYPES
from freehold.trial.json_form import JsonObject
from freehold.trial.rival import Endpoint

#: Worked examples of a few-shot prompt, at most.
MOST_SHOTS = 8
#: What ``--safety`` says for no prompts at all.
NO_SAFETY = "none"
#: What may be left out where a row is too long for a model.
TOO_LONG = ("row", "model")


@dataclass(frozen=True)
class Options:
    """What decides a trial besides its data and models. Seconds, bytes, dollars."""

    budget_s: float = 3600.0
    memory_bytes: int = 0
    needs: tuple[str, ...] = ()
    licence_policy: str = "any"
    plain_template: bool = False
    tune: bool = True
    shots: int = MOST_SHOTS
    types: tuple[str, ...] = TYPES
    recipe: JsonObject = field(default_factory=dict)
    #: whose electricity carbon is reckoned with; "" for the world's
    country: str = ""
    costs: CostOptions = field(default_factory=CostOptions)
    latency_rows: int = 32
    #: what to do with a row that is too long for a model: leave out the row, or the model
    too_long: str = "row"
    #: prompts that safety is tested with; nothing for those that come with Freehold, 'none' for no test
    safety_prompts: str = ""
    rival_file: str = ""
    rival_endpoint: Endpoint | None = None
    #: seconds for finding learning rate and rank of each model that is tuned; 0: no search
    search_s: float = 0.0
    #: whether a tuned model is quantized to our own mix of types too, where the budget holds it
    mix: bool = True


#: Options that change nothing that is measured: a trial with others goes on with what it has.
FREE = (
    "budget_s",
    "needs",
    "costs",
)
#: Options that later versions added: a trial without them has the identifier that it had before.
ADDED = ("search_s", "mix")
