"""What every commit to a model's repository passes, whichever way it comes: an upload, a merged request, a
mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from freehold.core.errors import PolicyDenied
from freehold.hub.commits import File, Repository
from freehold.hub.scans import Danger, Scans, worst

#: Raises PolicyDenied where the policy does not let a repository of this name hold weights under this
#: licence.
Allow = Callable[[str, str], None]
_WEIGHTS = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5")


class CommitGate:
    """``strict``: unsafe files are refused; otherwise they are kept, shown as unsafe, and never pulled into
    the store.
    """

    def __init__(self, scans: Scans, allow: Allow, *, strict: bool):
        self._scans, self._allow, self._strict = scans, allow, strict

    def __call__(
        self, repository: Repository, brings: Mapping[str, File], files: Mapping[str, File], licence: str
    ) -> None:
        """Raises PolicyDenied for a commit that may not be. ``brings``: files that it adds or changes;
        ``files``: all, afterwards.
        """
        if repository.kind != "model":
            return
        if self._strict:
            _refuse_unsafe(self._scans.of(brings))
        if licence or any(path.lower().endswith(_WEIGHTS) for path in files):
            self._allow(repository.name, licence)


def _refuse_unsafe(dangers: Mapping[str, list[Danger]]) -> None:
    """Raises PolicyDenied, naming the files that do harm when they are opened."""
    unsafe = {path: findings for path, findings in sorted(dangers.items()) if worst(findings) == "unsafe"}
    if unsafe:
        listed = "; ".join(f"{path[:80]}: {findings[0].why}" for path, findings in list(unsafe.items())[:3])
        more = f" (and {len(unsafe) - 3} more)" if len(unsafe) > 3 else ""
        raise PolicyDenied(
            f"this hub does not accept unsafe files, and the commit adds {listed}{more}",
            "upload the weights as safetensors or GGUF",
        )
