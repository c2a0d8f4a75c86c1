"""Every failure a user can meet, as one tree; exit codes follow it.

FreeholdError            1   something went wrong that has a cause and a remedy
├── UsageError           2   the command line or a setting cannot be right
├── BadData              5   rows that cannot be read; all faults at once
├── BadModel             6   a truncated, corrupted or foreign model file
├── NotFound             7   no such model, trial or file
├── Unsupported          8   a model, format or option that Freehold does not know
├── DoesNotFit           9   more memory, disk or time than there is
├── MissingPart         10   something the machine lacks: a compiler, an engine, an extra
├── Busy                11   another process holds what is needed
├── PolicyDenied        12   a policy, a licence or a safety rule does not allow it
├── StepFailed          13   a step of a trial ended without a result
├── Expired             14   a certificate that was valid and has expired
├── DamagedStore        15   the catalogue or a manifest of the store is damaged or missing
├── Conflict            16   something of that name exists, or has changed meanwhile
└── AccessDenied        17   a server does not accept the token, or the token lacks the permission

3 and 4 are not failures but verdicts (not yet; rent it or not with these models); Ctrl-C exits with 130.
"""

from __future__ import annotations


class FreeholdError(Exception):
    """An expected failure: one sentence of cause, and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = ""):
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(FreeholdError):
    """The command line or a setting cannot be right."""

    exit_code = 2


class BadData(FreeholdError):
    """Rows that cannot be read. ``faults`` holds a sentence for each, with file, line and field."""

    exit_code = 5

    def __init__(self, message: str, remedy: str = "", faults: list[str] | None = None):
        super().__init__(message, remedy)
        self.faults = faults or []


class BadModel(FreeholdError):
    """A truncated, corrupted or foreign model file."""

    exit_code = 6


class NotFound(FreeholdError):
    """No such model, trial or file."""

    exit_code = 7


class Unsupported(FreeholdError):
    """A model, format or option that Freehold does not know."""

    exit_code = 8


class DoesNotFit(FreeholdError):
    """More memory, disk or time than there is."""

    exit_code = 9


class MissingPart(FreeholdError):
    """Something the machine lacks: a compiler, an engine, an optional package."""

    exit_code = 10


class Busy(FreeholdError):
    """Another process holds what is needed."""

    exit_code = 11


class PolicyDenied(FreeholdError):
    """A policy, a licence or a safety rule does not allow it."""

    exit_code = 12


class StepFailed(FreeholdError):
    """A step of a trial ended without a result."""

    exit_code = 13


class Expired(FreeholdError):
    """A certificate that was valid and has expired."""

    exit_code = 14


class DamagedStore(FreeholdError):
    """The catalogue or a manifest of the store is damaged or missing."""

    exit_code = 15


class Conflict(FreeholdError):
    """Something of that name exists already, or has changed in a way that does not allow this."""

    exit_code = 16


class AccessDenied(FreeholdError):
    """A server does not accept the token, or the token lacks the permission."""

    exit_code = 17


BY_NAME: dict[str, type[FreeholdError]] = {
    kind.__name__: kind
    for kind in (
        FreeholdError,
        UsageError,
        BadData,
        BadModel,
        NotFound,
        Unsupported,
        DoesNotFit,
        MissingPart,
        Busy,
        PolicyDenied,
        StepFailed,
        Expired,
        DamagedStore,
        Conflict,
        AccessDenied,
    )
}


def to_json(error: FreeholdError) -> dict[str, str]:
    """An error for another process; a kind that only a part of Freehold has becomes the one above it."""
    kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in BY_NAME)
    return {"kind": kind, "message": error.message, "remedy": error.remedy}


def from_json(said: dict[str, str]) -> FreeholdError:
    """The error that another process told."""
    return BY_NAME[said["kind"]](said["message"], said["remedy"])
