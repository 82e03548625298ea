"""Which agent answers, at every place where a model may be named; and who on the line counts as its owner."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from openclaw_voicecall.config.trust import agent_tools, is_owner
from openclaw_voicecall.plugins import load_registry
from openclaw_voicecall.server.answering import answered_by, answering_notices, checked_reference

pytestmark = pytest.mark.unit

REGISTRY = load_registry(load_entry_points=False)
MODEL = REGISTRY.config_model()
LINE, OWNER, FRIEND, STRANGER = "+15550100001", "+15550009999", "+15550008888", "+15550007777"
OPENCLAW, HERMES = SimpleNamespace(name="openclaw"), SimpleNamespace(name="hermes")


def settled(host, **settings):
    return answered_by(host, MODEL.model_validate(settings), REGISTRY.responders)


@pytest.mark.parametrize("host", [OPENCLAW, HERMES])
@pytest.mark.parametrize(
    ("named", "model", "agent"),
    [
        (None, "host", None),
        ("{}", "host", None),
        ("{}/default", "host", None),
        ("{}/work", "host", "work"),
        ("host/work", "host", "work"),
        ("{}/work@openai/gpt-5-mini", "host/default@openai/gpt-5-mini", "work"),
        ("{}/default@openai/gpt-5-mini", "host/default@openai/gpt-5-mini", None),
        ("anthropic/claude-haiku", "host/default@anthropic/claude-haiku", None),
        ("openai/gpt-5.6-luna", "openai/gpt-5.6-luna", None),
        ("frontdesk", "frontdesk", None),
        ("nonsense", "nonsense", None),
    ],
)
def test_in_a_host_its_agent_answers_unless_another_responder_is_named(host, named, model, agent):
    config = settled(host, responseModel=named and named.format(host.name))
    assert (config.response_model, config.agent_id) == (model, agent)


@pytest.mark.parametrize(
    ("host", "named", "model"),
    [
        (None, None, None),
        (None, "openclaw", "openclaw"),
        (None, "openclaw/default", "openclaw"),
        (None, "openclaw/work", "openclaw"),
        (None, "anthropic/claude-haiku", "anthropic/claude-haiku"),
        (HERMES, "openclaw/work", "openclaw/work"),
    ],
)
def test_outside_of_openclaw_its_gateway_is_asked(host, named, model):
    config = settled(host, responseModel=named)
    assert config.response_model == model


@pytest.mark.parametrize(("host", "word"), [(OPENCLAW, "host"), (None, "openclaw")])
def test_a_number_has_an_agent_or_a_model_of_its_own(host, word):
    config = settled(
        host,
        responseModel="openclaw/work",
        numbers={
            LINE: {"responseModel": "openclaw/desk"},
            OWNER: {"agentId": "sales"},
            FRIEND: {"agentId": "sales", "responseModel": "openclaw"},
            STRANGER: {"responseModel": "frontdesk"},
        },
    )
    found = {number: (own.response_model, own.agent_id) for number, own in config.numbers.items()}
    assert (config.response_model, config.agent_id) == (word, "work")
    assert found == {
        LINE: (word, "desk"),
        OWNER: (None, "sales"),
        FRIEND: (word, "sales"),
        STRANGER: ("frontdesk", None),
    }


@pytest.mark.parametrize(("host", "word"), [(OPENCLAW, "host"), (None, "openclaw")])
def test_fallbacks_may_be_agents(host, word):
    config = settled(
        host,
        responseModel="openai/gpt-5.6-luna",
        responseFallbacks=["openclaw/desk", "openclaw", "openclaw/a@openai/b", "frontdesk"],
    )
    assert config.response_fallbacks == (f"{word}/desk", word, f"{word}/a@openai/b", "frontdesk")


def test_commands_that_openclaws_plugin_starts_alone_understand_its_settings():
    written = MODEL.model_validate({"responseModel": "anthropic/claude-haiku"})
    env = {"OPENCLAW_VOICECALL_GATEWAY": "{}"}
    alone = answered_by(None, written, REGISTRY.responders, env)
    assert alone.response_model == "openclaw/default@anthropic/claude-haiku"
    assert checked_reference("anthropic/claude-haiku", REGISTRY.responders, env) == alone.response_model
    assert checked_reference("openclaw/work", REGISTRY.responders, env) == "openclaw/work"
    assert checked_reference("anthropic/claude-haiku", REGISTRY.responders, {}) == "anthropic/claude-haiku"


def test_what_is_settled_stays_as_it_is():
    once = settled(OPENCLAW, responseModel="openclaw/work@openai/b", responseFallbacks=["openclaw/desk"])
    assert answered_by(OPENCLAW, once, REGISTRY.responders) == once


def test_a_call_with_somebody_whose_tools_cannot_be_limited_is_announced():
    (notice,) = answering_notices(settled(None, responseModel="openclaw"))
    assert "agentTools" in notice
    for settings in (
        {"responseModel": "frontdesk"},
        {"responseModel": "openclaw", "agentTools": {"others": ["*"]}},
    ):
        assert answering_notices(settled(None, **settings)) == ()
    assert answering_notices(settled(OPENCLAW)) == ()


def config(**settings):
    return MODEL.model_validate(settings)


def test_only_the_number_that_is_the_owners_is_the_owner():
    found = config(toNumber=OWNER, allowFrom=[FRIEND])
    assert [is_owner(found, number) for number in (OWNER, FRIEND, STRANGER, "")] == [
        True,
        False,
        False,
        False,
    ]


def test_owners_are_those_that_are_named_and_nobody_else():
    found = config(toNumber=OWNER, owners=[FRIEND])
    assert [is_owner(found, number) for number in (OWNER, FRIEND)] == [False, True]
    assert not is_owner(config(toNumber=OWNER, owners=[]), OWNER)
    assert not is_owner(config(), "")


def test_the_owner_has_all_tools_and_others_those_that_read_nothing_of_the_owners():
    found = config(toNumber=OWNER)
    assert agent_tools(found, OWNER) is None
    assert agent_tools(found, STRANGER) == ("voice_call", "web_search", "web_fetch")


def test_tools_are_what_the_owner_says():
    found = config(toNumber=OWNER, agentTools={"owner": ["read", "voice_call"], "others": []})
    assert agent_tools(found, OWNER) == ("read", "voice_call")
    assert agent_tools(found, STRANGER) == ()
    assert agent_tools(config(agentTools={"others": ["*"]}), STRANGER) is None


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ({"others": ["*", "read"]}, "found both"),
        ({"others": ["web search"]}, 'expected names of tools such as "web_search"'),
        ({"others": [""]}, "expected names of tools"),
        ({"owner": "read; rm"}, "expected names|valid tuple"),
        ({"strangers": []}, "Extra inputs"),
    ],
)
def test_wrong_tools_are_refused_with_what_was_expected(tools, words):
    with pytest.raises(ValidationError, match=words):
        config(agentTools=tools)
