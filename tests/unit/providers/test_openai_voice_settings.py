"""What OpenAI's speech models are asked for: every message fits the SDK's types, and wrong ones are never sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime.call_accept_params import CallAcceptParams
from openai.types.realtime.session_update_event_param import SessionUpdateEventParam
from pydantic import ValidationError

from openclaw_voicecall.api.realtime import ModelTool, RealtimeRequest
from openclaw_voicecall.api.responder import Line
from openclaw_voicecall.config.environment import fill_from_openclaw_names
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.errors import VendorRejected
from openclaw_voicecall.providers.openai.accept_check import accept_problems, sdk_problems
from openclaw_voicecall.providers.openai.sip_config import OpenAISipConfig, sip_notices
from openclaw_voicecall.providers.openai.voice_config import OpenAIVoiceConfig, voice_notices
from openclaw_voicecall.providers.openai.voice_settings import (
    accept_body,
    accept_tree,
    full_session,
    least_session,
    past,
    reply,
    require_sound,
    unconfirmed,
    voice_settings,
)

pytestmark = pytest.mark.unit

SCHEMA = {"type": "object", "properties": {"why": {"type": "string", "default": None}}, "required": []}
END_CALL = ModelTool(name="end_call", description="Ends the call.", parameters=SCHEMA)


def request(**changes):
    fields = {
        "call_id": "c1",
        "instructions": "You answer the phone.",
        "language": "en-GB",
        "tools": (END_CALL,),
    }
    return RealtimeRequest(**{**fields, **changes})


def settings(*, sip=False, attached=False, config=None, **changes):
    return voice_settings(
        OpenAIVoiceConfig.model_validate(config or {}), request(**changes), sip=sip, attached=attached
    )


def nulls(tree, path=""):
    if isinstance(tree, dict):
        return [found for key, value in tree.items() for found in nulls(value, f"{path}.{key}")]
    if isinstance(tree, list):
        return [found for at, value in enumerate(tree) for found in nulls(value, f"{path}[{at}]")]
    return [path] if tree is None else []


def keys(tree):
    if isinstance(tree, dict):
        return {*tree, *(key for value in tree.values() for key in keys(value))}
    return {key for value in tree for key in keys(value)} if isinstance(tree, list) else set()


CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["gpt-realtime-2.1", "gpt-realtime-1.5", "gpt-realtime"]),
        "voice": st.sampled_from(["marin", "cedar", "alloy", "voice_1234"]),
        "speed": st.floats(0.25, 1.5),
        "turnDetection": st.sampled_from(["server_vad", "semantic_vad"]),
        "eagerness": st.sampled_from(["low", "medium", "high", "auto"]),
        "noiseReduction": st.sampled_from(["near_field", "far_field", "off"]),
        "reasoningEffort": st.sampled_from(["minimal", "xhigh"]),
        "maxOutputTokens": st.one_of(st.integers(1, 4096), st.just("inf")),
        "tracing": st.sampled_from([{}, {"workflowName": "phone", "metadata": {"tenant": "x"}}]),
        "temperature": st.floats(0, 1),
        "interruptResponseOnInputAudio": st.booleans(),
        "vadThreshold": st.floats(0, 1),
    },
)


@given(CONFIGS, st.booleans(), st.booleans(), st.booleans())
def test_every_configuration_that_can_be_written_fits_the_sdk_and_holds_no_null(config, sip, attends, first):
    asked = settings(sip=sip, config=config)
    for session in (
        full_session(asked, attends=attends, first=first),
        least_session(asked, attends=attends, first=first),
    ):
        update = {"type": "session.update", "event_id": "e", "session": session}
        assert sdk_problems(SessionUpdateEventParam, update) == []
        assert nulls(update) == []
        assert session["type"] == "realtime"
        assert not {"temperature", "modalities"} & keys(session)
        assert "model" not in session
        assert (
            "format" in keys(session) or sip or session == least_session(asked, attends=attends, first=first)
        )
    body = accept_body(asked, attends=attends)
    assert sdk_problems(CallAcceptParams, body) == []
    assert nulls(body) == []
    assert json.loads(json.dumps(body)) == body


def test_a_sip_call_is_never_told_an_audio_format():
    asked = settings(sip=True, config={"tracing": {}})
    for tree in (accept_body(asked), full_session(asked), least_session(asked), reply(asked, "r", text="Hi")):
        assert "format" not in keys(tree)


def test_voice_tools_and_tracing_are_in_the_body_that_takes_a_call():
    asked = settings(sip=True, config={"voice": "cedar", "tracing": {"metadata": {"tenant": "x"}}})
    body = accept_body(asked)
    assert body["audio"]["output"] == {"voice": "cedar"}
    assert [tool["name"] for tool in body["tools"]] == ["end_call"]
    assert body["tracing"] == {"workflow_name": "phone", "group_id": "c1", "metadata": {"tenant": "x"}}


def test_mu_law_is_asked_for_both_ways_without_a_rate():
    audio = full_session(settings())["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}


def test_a_text_is_said_word_for_word_in_the_same_voice_and_without_tools():
    asked = reply(settings(config={"voice": "cedar"}), "r1", text='Say "hello" now')
    assert asked["instructions"].endswith("\"Say 'hello' now\"")
    assert asked["instructions"].count('"') == 2
    assert asked["tool_choice"] == "none"
    assert asked["audio"]["output"] == {"voice": "cedar", "format": {"type": "audio/pcmu"}}


def test_an_own_voice_is_named_by_its_id():
    asked = settings(config={"speakerVoice": "voice_1234"})
    assert full_session(asked)["audio"]["output"]["voice"] == {"id": "voice_1234"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"voice": "coralline"}, "session.audio.output.voice"),
        (
            {"tools": (ModelTool(name="end call", description="", parameters=SCHEMA),)},
            "session.tools[0].name",
        ),
        ({"tools": (END_CALL, END_CALL)}, "session.tools[1].name"),
        ({"tools": (ModelTool(name="x", description="", parameters={}),)}, "session.tools[0].parameters"),
    ],
)
def test_what_openai_would_refuse_is_refused_here_and_the_field_is_named(changes, field):
    with pytest.raises(VendorRejected) as refused:
        require_sound(settings(**changes))
    assert field in str(refused.value)
    with pytest.raises(VendorRejected):
        accept_body(settings(sip=True, **changes))
    found = accept_problems(OpenAIVoiceConfig(), request(**changes))
    assert len(found) == 1
    assert field in found[0]


def test_a_sound_set_up_has_no_problems():
    assert accept_problems(OpenAIVoiceConfig(), request()) == []


def test_the_sdks_types_find_what_our_rules_do_not_know():
    body = accept_tree(settings(sip=True))
    assert sdk_problems(CallAcceptParams, {**body, "temperature": 0.8})
    assert sdk_problems(CallAcceptParams, {**body, "audio": {"output": {"voice": "marin", "format": None}}})
    assert sdk_problems(CallAcceptParams, {**body, "tools": [{"type": "web_search"}]})


def test_an_echo_must_grant_voice_tools_formats_and_turn_detection():
    asked = full_session(settings())
    assert unconfirmed(asked, json.loads(json.dumps(asked))) == ""
    for change, named in (
        (lambda echo: echo["audio"]["output"].update(voice="alloy"), "audio.output.voice"),
        (lambda echo: echo.update(tools=[]), "tools"),
        (lambda echo: echo.pop("tools"), "tools"),
        (lambda echo: echo["audio"]["input"].update(format={"type": "audio/pcm"}), "audio.input.format"),
        (lambda echo: echo["audio"]["input"].update(turn_detection=None), "turn_detection"),
        (lambda echo: echo.update(type="transcription"), "session.type"),
        (lambda echo: echo.update(audio="?"), "audio.output.voice"),
    ):
        echo = json.loads(json.dumps(asked))
        change(echo)
        assert named in unconfirmed(asked, echo)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "audio", "input", "output", "voice", "tools", "name", "format"]), inner
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_echo_can_be_looked_at(echo):
    assert isinstance(unconfirmed(full_session(settings()), echo), str)


def test_the_past_is_given_as_what_each_side_said_and_empty_lines_are_left_out():
    items = past((Line("caller", "Hello?"), Line("agent", "Good morning."), Line("agent", " ")))
    assert [(item["role"], item["content"][0]["type"]) for item in items] == [
        ("user", "input_text"),
        ("assistant", "output_text"),
    ]


def test_an_unknown_voice_in_the_settings_is_refused_with_the_list():
    with pytest.raises(ValidationError, match="alloy, ash, ballad"):
        OpenAIVoiceConfig.model_validate({"voice": "Marin"})
    with pytest.raises(ValidationError, match="two"):
        OpenAIVoiceConfig.model_validate({"voice": "marin", "speakerVoice": "cedar"})


def test_what_is_old_in_the_settings_is_said():
    old = OpenAIVoiceConfig.model_validate(
        {"model": "gpt-4o-realtime-preview", "temperature": 0.8, "reasoningEffort": "low"}
    )
    notices = " ".join(voice_notices(old))
    assert "was retired on 2026-05-07" in notices
    assert "temperature" in notices
    assert "reasoningEffort" in notices
    soon = OpenAIVoiceConfig.model_validate({"model": "gpt-realtime-mini", "transcriptionModel": "whisper-1"})
    assert "use gpt-realtime-2.1-mini" in " ".join(voice_notices(soon))
    assert "whisper-1" in " ".join(voice_notices(soon))
    assert voice_notices(OpenAIVoiceConfig()) == []


def test_the_sip_section_is_that_of_the_model_and_more():
    config = OpenAISipConfig.model_validate(
        {"voice": "cedar", "projectId": "proj_1", "webhookSecret": "whsec_eA=="}
    )
    assert (config.voice_name, config.trunk, config.sip_host) == ("cedar", "twilio", "sip.api.openai.com")
    assert sip_notices(config) == []
    assert "projectId" in " ".join(sip_notices(OpenAISipConfig()))


def test_the_section_of_the_carrier_stands_at_the_top_and_takes_its_secrets_from_the_environment():
    model = build_config_model({"openai-sip": OpenAISipConfig})
    tree = {"provider": "openai-sip", "openai-sip": {"projectId": "proj_1", "speakerVoice": "cedar"}}
    env = {"OPENAI_API_KEY": "sk-1", "OPENAI_WEBHOOK_SECRET": "whsec_eA=="}
    config = model.model_validate(fill_from_openclaw_names(tree, model, env))
    given = config.carrier_settings("openai-sip")
    assert given.api_key.get_secret_value() == "sk-1"
    assert given.webhook_secret.get_secret_value() == "whsec_eA=="
    assert given.voice_name == "cedar"
