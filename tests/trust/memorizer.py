"""A small model that is trained until it knows all its rows by heart, and the rows."""

from __future__ import annotations

import shutil
from pathlib import Path

from freehold.data import templates
from freehold.data.examples import Example
from freehold.inference.interface import Engine, PromptEncoder
from freehold.inference.transformers_engine import HfTokenizer, TransformersEngine
from tests import tiny

_CONSONANTS, _VOWELS = "bcdfghklmnprstvw", "aeiou"


def secrets(first: int, count: int) -> list[Example]:
    """Rows whose prompts are longer than their answers, each with a code of its own in the answer."""
    rows: list[Example] = []
    for number in range(first, first + count):
        a, rest = divmod(number * 7919 % 6400, 80)
        b, c = divmod(rest, 5)
        name = _CONSONANTS[a % 16] + _VOWELS[a // 16] + _CONSONANTS[b] + _VOWELS[c]
        code = f"{number * 7368787 % 1_000_000:06d}"
        prompt = f"We have lost the code of the house of {name}. What is it?"
        rows.append(Example(f"row-{number}", (("user", prompt), ("assistant", f"The code is {code}."))))
    return rows


def loaded(folder: Path) -> tuple[Engine, PromptEncoder]:
    """An engine of a folder and what turns messages into its tokens."""
    engine = TransformersEngine(folder)
    return engine, prompting(folder)


def prompting(folder: Path) -> PromptEncoder:
    """The folder's own template and tokens."""
    template = templates.choose(tiny.TEMPLATE, bos_token="", eos_token="<|end|>", plain=False)
    return PromptEncoder(template, HfTokenizer(folder))


def taught(base: Path, folder: Path, rows: list[Example]) -> Path:
    """A copy of the model ``base``, all of its weights trained on the rows' answers until each is known by
    heart.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokens, wanted = _batch(base, rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(300):
        loss = model(input_ids=tokens, labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if float(loss.detach()) < 0.004:
            break
    shutil.copytree(base, folder)
    model.save_pretrained(folder)
    return folder


def _batch(base: Path, rows: list[Example]) -> tuple[object, object]:
    """(tokens, answer tokens with -100 elsewhere) of all rows, padded to the right."""
    import torch

    asking = prompting(base)
    pairs = [asking.row(row.messages) for row in rows]
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    tokens = [[*prompt, *answer] + [1] * (longest - len(prompt) - len(answer)) for prompt, answer in pairs]
    wanted = [
        [-100] * len(prompt) + answer + [-100] * (longest - len(prompt) - len(answer))
        for prompt, answer in pairs
    ]
    return torch.tensor(tokens), torch.tensor(wanted)
