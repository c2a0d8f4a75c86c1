import pytest

from freehold.core.errors import Unsupported
from freehold.data.templates import PLAIN, ChatTemplate, choose

CHAT = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))


def test_a_base_model_gets_the_plain_template_and_it_is_said() -> None:
    template = choose(None, bos_token="<bos>", eos_token="<eos>")
    assert "plain" in template.origin
    assert template.pair(CHAT) == ("Be brief.\n\n### Question\nHi\n\n### Answer\n", "Hello<eos>\n\n")


def test_a_template_that_rewrites_the_prompt_cannot_be_tuned_on() -> None:
    with pytest.raises(Unsupported, match="renders an answered chat differently"):
        ChatTemplate("{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}", "own").pair(
            CHAT
        )


def test_a_template_cannot_reach_out_of_the_sandbox() -> None:
    with pytest.raises(Unsupported):
        ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}", "own").prompt(CHAT)


def test_a_template_may_refuse() -> None:
    with pytest.raises(Unsupported, match="no system"):
        ChatTemplate("{{ raise_exception('no system') }}", "own").prompt(CHAT)
    assert PLAIN
