"""What errors of the system mean: also where a library tells them in its own way."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.core import system_errors
from freehold.core.errors import DoesNotFit, FreeholdError

_SAVED = """
import resource, signal, sys, torch
from safetensors.torch import save_file
from freehold.core import system_errors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    save_file({"w": torch.zeros(100_000)}, sys.argv[1])
except Exception as error:
    told = system_errors.explain(error)
    print(type(told).__name__, told)
"""


def test_what_safetensors_says_of_a_full_disk_is_not_a_fault_of_freehold(tmp_path: Path) -> None:
    target = tmp_path / "w.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", _SAVED, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("DoesNotFit"), done.stdout + done.stderr
    assert "a file is larger than the file system" in done.stdout


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DoesNotFit), (errno.EFBIG, DoesNotFit), (errno.EIO, FreeholdError)]
)
def test_numbers_of_the_system_have_a_sentence_that_names_the_file(
    number: int, kind: type[FreeholdError]
) -> None:
    told = system_errors.explain(OSError(number, "what the system says", "/data/rows.jsonl"))
    assert type(told) is kind
    assert "/data/rows.jsonl" in told.message
    assert told.remedy


def test_what_is_not_listed_is_a_fault_of_freehold() -> None:
    assert system_errors.explain(ValueError("No space left on device (os error 28)")) is None
    assert system_errors.explain(OSError(errno.EXDEV, "cross-device link")) is None
