"""Text engine on transformers, for models that have no GGUF. Same interface, one answer at a time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.core import extras
from freehold.core.errors import BadModel, DoesNotFit, Unsupported
from freehold.inference.interface import Completion
from freehold.inference.request import GenerationRequest
from freehold.models.formats import peft

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class HfTokenizer:
    """Tokens of a safetensors model's own tokenizer, read with the tokenizers library: transformers takes
    seconds and 130 MB to import.

    ``special``: role (bos, eos, unk, pad) -> number of its token.
    """

    def __init__(self, folder: Path):
        self.tokenizer = _tokenizer(folder)
        names = _special_names(folder)
        known = self.tokenizer.get_vocab(with_added_tokens=True)
        self.special = {role: known[name] for role, name in names.items() if name in known}
        if "eos" not in self.special:
            raise BadModel(
                f"the tokenizer in {folder.name} names no end token",
                "add eos_token to its tokenizer_config.json",
            )
        self.size = max(known.values()) + 1
        adds = self.tokenizer.encode("").ids
        self._start = [token for token in adds if token == self.special.get("bos")]
        self.bos_token = names.get("bos", "") if self._start else ""
        self.eos_token = names["eos"]
        ends = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
        self._ends = {known[name] for name in ends if name in known} | {self.special["eos"]}

    def encode(self, text: str, *, start: bool) -> list[int]:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return (self._start if start else []) + self.tokenizer.encode(text, add_special_tokens=False).ids

    def least(self, text: str) -> int:
        """See :class:`freehold.inference.interface.Tokenizer`.

        Nothing is known here: its normalizer may drop all.
        """
        return 0

    def decode(self, tokens: Sequence[int]) -> str:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)

    def is_end(self, token: int) -> bool:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return token in self._ends

    @property
    def end(self) -> int:
        """See :class:`freehold.inference.interface.Tokenizer`."""
        return self.special["eos"]


def _tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer.json; where there is only a SentencePiece file, what transformers makes of it.
    Raises BadModel.
    """
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").exists():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).backend_tokenizer
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise BadModel(
            f"the tokenizer in {folder.name} cannot be loaded ({str(error).splitlines()[0]})",
            "check its tokenizer.json",
        ) from error


def _special_names(folder: Path) -> dict[str, str]:
    """Role -> text of the special tokens that the folder's settings name."""
    found: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / file
        try:
            settings = json.loads(path.read_text()) if path.exists() else {}
        except ValueError as error:
            raise BadModel(f"{folder.name}/{file} is not JSON ({error})", "fetch it again") from error
        for role in ("bos", "eos", "unk", "pad"):
            value = settings.get(f"{role}_token")
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                found[role] = value
    return found


def load(kind: Any, folder: Path, *, beside: re.Pattern[str] | None = None, **options: Any) -> Any:
    """A model of one of transformers' automatic classes, every weight of it read from the folder. Raises
    BadModel.

    transformers fills in what a folder lacks with random numbers and only warns. ``beside``: names of
    tensors that may be missing or left over, since what they are for is not used.
    """
    extras.need("torch", "a model that is not GGUF")
    import torch

    settings = {
        "dtype": torch.float32,
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    try:
        # a mismatch of shapes is left to the report, which names the tensor
        model, report = kind.from_pretrained(
            folder, **settings, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except (
        Exception
    ) as error:  # what a foreign configuration breaks in transformers' code has no common class
        cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BadModel(
            f"transformers cannot load {folder.name} ({cause[:200]})", "choose another model"
        ) from error
    if fault := unlike(report, beside):
        raise BadModel(
            f"the weights in {folder.name} do not match its config.json: {fault}",
            "fetch the whole folder again, or choose another model",
        )
    return model


#: Tensors that older folders hold and that are computed, not learnt.
_COMPUTED = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(masked_)?bias$|position_ids$")


def unlike(report: Mapping[str, Any], beside: re.Pattern[str] | None = None) -> str:
    """What transformers reports as missing, of another shape, or left over after loading; '' for nothing."""

    def counts(name: str) -> bool:
        return beside is None or not beside.search(name)

    missing = sorted(filter(counts, report["missing_keys"]))
    mismatched = sorted(report["mismatched_keys"])
    left = sorted(name for name in report["unexpected_keys"] if counts(name) and not _COMPUTED.search(name))
    if missing:
        return f"{len(missing)} tensors are missing, such as {missing[0]}"
    if mismatched:
        name, stored, declared = mismatched[0]
        return (
            f"{len(mismatched)} tensors have the wrong shape, such as {name}: {list(stored)} instead of "
            f"{list(declared)}"
        )
    return f"{len(left)} tensors are not part of the model, such as {left[0]}" if left else ""


def _add(model: Any, folder: Path) -> None:
    """Add a PEFT adapter to the matrices of a loaded model. Raises BadModel."""
    import torch

    facts = peft.peft_facts(folder / peft.CONFIG, folder / peft.WEIGHTS)
    with torch.no_grad():
        for module, factors in peft.read_factors(folder / peft.WEIGHTS):
            weight = _weight(model, module, folder)
            change = facts.scale * torch.from_numpy(factors["B"]) @ torch.from_numpy(factors["A"])
            merged = weight.T + change if facts.fan_in_fan_out else weight + change
            if "magnitude_vector" in factors:
                merged *= (
                    torch.from_numpy(factors["magnitude_vector"]).reshape(-1) / merged.norm(dim=1)
                ).unsqueeze(1)
            weight.copy_(merged.T if facts.fan_in_fan_out else merged)


def _weight(model: Any, module: str, folder: Path) -> Any:
    try:
        return model.get_submodule(module).weight
    except AttributeError as error:
        raise BadModel(
            f"the adapter in {folder.name} changes {module}, which its base does not have",
            "name its base with --base",
        ) from error


class TransformersEngine:
    """A safetensors model in float32 on the processor, with the PEFT ``adapter`` of that folder added to its
    matrices. Raises BadModel.
    """

    def __init__(self, folder: Path, *, context_length: int = 4096, adapter: Path | None = None):
        import torch
        from transformers import AutoModelForCausalLM

        started = time.perf_counter()
        self._torch = torch
        self.vocabulary = HfTokenizer(folder)
        self._model: Any = load(AutoModelForCausalLM, folder).eval()
        if adapter is not None:
            _add(self._model, adapter)
        own = int(getattr(self._model.config, "max_position_embeddings", context_length))
        self.context_length = min(context_length, own)
        self.load_s = time.perf_counter() - started

    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[tuple[int, Completion]]:
        """See :class:`freehold.inference.interface.Engine`. Raises Unsupported for a grammar."""
        for index, request in enumerate(requests):
            if request.grammar is not None or request.matcher is not None:
                raise Unsupported(
                    "the transformers engine cannot bind answers to a grammar", "use a GGUF model"
                )
            if len(request.tokens) + request.max_tokens > self.context_length:
                raise DoesNotFit(
                    f"a prompt of {len(request.tokens)} tokens and an answer of up to {request.max_tokens} "
                    f"exceed the context of {self.context_length} tokens",
                    "shorten the prompt",
                )
            yield index, self._answer(request)

    def _answer(self, request: GenerationRequest) -> Completion:
        torch, started, first = self._torch, time.perf_counter(), 0.0
        rng = np.random.default_rng(request.sampling.seed)
        feed, past, tokens, finish = list(request.tokens), None, list[int](), "length"
        with torch.inference_mode():
            while len(tokens) < request.max_tokens:
                out = self._model(
                    input_ids=torch.tensor([feed]), past_key_values=past, use_cache=True, logits_to_keep=1
                )
                past, logits = out.past_key_values, out.logits[0, -1].numpy()
                first = first or time.perf_counter() - started
                if request.choices is not None:
                    allowed = request.choices.allowed(tokens)
                    tokens.append(allowed[int(np.argmax(logits[allowed]))])
                    settled = request.choices.settled(tokens)
                    if settled is not None:
                        return Completion(
                            request.choices.answers[settled],
                            request.choices.tokens[settled],
                            "choice",
                            len(request.tokens),
                            first,
                            time.perf_counter() - started,
                        )
                else:
                    changed = request.sampling.applied(logits, request.tokens, tokens)
                    token = request.sampling.pick(changed, rng)
                    if self.vocabulary.is_end(token):
                        finish = "stop"
                        break
                    tokens.append(token)
                    if any(stop in self.vocabulary.decode(tokens) for stop in request.stops):
                        finish = "stop"
                        break
                feed = tokens[-1:]
        text = self.vocabulary.decode(tokens)
        for stop in request.stops:
            text = text.partition(stop)[0]
        return Completion(
            text, tuple(tokens), finish, len(request.tokens), first, time.perf_counter() - started
        )

    def score(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See :class:`freehold.inference.interface.Engine`."""
        torch = self._torch
        scores: list[list[float]] = []
        with torch.inference_mode():
            for prompt, answer in rows:
                tokens = torch.tensor([[*prompt, *answer]])
                logits = self._model(input_ids=tokens, logits_to_keep=len(answer) + 1).logits[0, :-1].double()
                chances = torch.log_softmax(logits, dim=-1)
                scores.append(chances[torch.arange(len(answer)), torch.tensor(list(answer))].tolist())
        return scores

    def close(self) -> None:
        """Give the memory back."""
        self._model = None
