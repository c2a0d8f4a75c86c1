"""Errors on their way from one process to another."""

import pytest

from freehold.core.errors import BY_NAME, BadModel, FreeholdError, Unsupported, from_json, to_json
from freehold.core.limited_process import Exceeded
from freehold.data.rendering import Stopped


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadModel("it is cut off", "fetch it again"), BadModel),
        (Stopped("took more than 1 s"), Unsupported),
        (Exceeded("took more than 1 s"), BY_NAME["DoesNotFit"]),
    ],
)
def test_an_error_is_the_nearest_that_everyone_knows(error: FreeholdError, kind: type[FreeholdError]) -> None:
    heard = from_json(to_json(error))
    assert type(heard) is kind
    assert (heard.message, heard.remedy) == (error.message, error.remedy)
