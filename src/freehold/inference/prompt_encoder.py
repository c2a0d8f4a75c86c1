"""Questions put to a model in its answer form: as it was asked when it was measured."""

from __future__ import annotations

from freehold.core.errors import BadModel
from freehold.data.templates import Messages
from freehold.inference.grammar import Source
from freehold.inference.interface import Choices, PromptEncoder
from freehold.inference.request import GenerationRequest
from freehold.inference.sampling import GREEDY, Sampling
from freehold.models.answer_form import AnswerForm

#: Tokens of an answer where neither the caller nor the form names a limit.
USUAL = 1024


def choices_of(prompting: PromptEncoder, form: AnswerForm) -> Choices | None:
    """The form's labels as tokens, the same for every question; None where it has none.

    Raises BadModel, Unsupported.
    """
    if not form.labels:
        return None
    choices = prompting.choices(form.messages((("user", "-"),)), form.labels)
    first: dict[tuple[int, ...], str] = {}
    for label, tokens in zip(choices.answers, choices.tokens, strict=True):
        if tokens in first:
            raise BadModel(
                f"the labels {first[tokens][:60]!r} and {label[:60]!r} are the same tokens to this model",
                "rename one of them, or ask without the answer form: --no-form",
            )
        first[tokens] = label
    return choices


def request_of(
    prompting: PromptEncoder,
    form: AnswerForm,
    question: Messages,
    choices: Choices | None = None,
    *,
    max_tokens: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
) -> GenerationRequest:
    """The engine's request for a question in this form. ``choices``: those of :func:`choices_of`.

    ``max_tokens`` 0: as many as the form says. A label is never drawn at random, and never cut. Raises
    BadModel, Unsupported.
    """
    choices = choices or choices_of(prompting, form)
    limit = max(map(len, choices.tokens)) if choices else max_tokens or form.max_tokens or USUAL
    return GenerationRequest(
        tuple(prompting.prompt(form.messages(question))),
        limit,
        GREEDY if choices else Sampling(temperature, seed=seed),
        prompting.template.stops,
        Source("schema", form.schema) if form.schema else None,
        choices=choices,
    )
