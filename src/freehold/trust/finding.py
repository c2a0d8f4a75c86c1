"""What a scanner finds in a file."""

from __future__ import annotations

from dataclasses import dataclass

#: Kinds of findings that do harm to whoever merely opens or loads the file; the others cannot be vouched for.
_UNSAFE = ("pickle", "remote code", "template", "yaml", "path", "link")
#: Kinds of findings that are damage or carelessness and nobody's attack.
_HARMLESS = ("header", "json", "size", "content", "packed")


@dataclass(frozen=True)
class Finding:
    """A reason to refuse a file. Any finding stops a pull."""

    #: name of the file
    file: str
    #: one or two words for counting; a scanner of another package may use kinds of its own
    kind: str
    #: what is wrong, the second half of a sentence that begins with the file's name
    why: str
    #: the scanner that found it, with its package and version; "" for Freehold's own. Filled in by Freehold
    scanner: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether opening the file as its kind is opened does harm by itself."""
        return self.kind in _UNSAFE

    @property
    def dangerous(self) -> bool:
        """Whether the file can run something or hide what does, and is not merely damaged."""
        return self.kind not in _HARMLESS

    @property
    def reason(self) -> str:
        """What is wrong, and which scanner says so where it is not Freehold's own."""
        return f"{self.why} ({self.scanner})" if self.scanner else self.why

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"
