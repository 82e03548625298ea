"""The example plugins of docs/hooks.md load, implement hooks that exist, and do what they say."""

import re
import types
from pathlib import Path
from typing import Any

import click
import pluggy
import pytest
from aiohttp import web
from click.testing import CliRunner

from openclaw_voicecall import hookspecs
from openclaw_voicecall.api.policy import CallOffer, CallPlan
from openclaw_voicecall.api.realtime import RealtimeRequest, ReplyEnded
from openclaw_voicecall.api.responder import EndCall, TextDelta, TurnRequest
from openclaw_voicecall.api.speech import SpeechEdge, SpeechRequest

pytestmark = pytest.mark.server

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```python\n# example: (\w+)\n(.*?)```", PAGE, re.DOTALL))


def load(name: str) -> tuple[types.ModuleType, pluggy.PluginManager]:
    module = types.ModuleType(f"example_{name}")
    exec(compile(EXAMPLES[name], f"docs/hooks.md:{name}", "exec"), vars(module))
    manager = pluggy.PluginManager("openclaw_voicecall")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    return module, manager


def registered(name: str, hook: str, **arguments: object) -> list[Any]:
    found: list[Any] = []
    getattr(load(name)[1].hook, hook)(register=found.append, **arguments)
    return found


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_implements_hooks_that_exist(name: str) -> None:
    module, manager = load(name)
    callers = manager.get_hookcallers(module) or []
    assert callers
    assert {caller.name for caller in callers} <= set(vars(hookspecs))


def test_every_group_of_hooks_has_an_example() -> None:
    groups = [part for part in PAGE.split("\n## ")[1:] if "generated: hook" in part]
    assert not [group.splitlines()[0] for group in groups if "# example: " not in group]


def test_the_carrier_registers_without_its_sdk() -> None:
    (spec,) = registered("carrier", "voicecall_register_carriers")
    assert (spec.name, spec.capabilities.marks) == ("tincan", False)
    assert spec.config.model_validate({"stringLength": 3}).string_length == 3


async def test_the_synthesizer_makes_sixty_milliseconds_a_letter() -> None:
    (spec,) = registered("speech", "voicecall_register_synthesizers")
    async with spec.open(None, None) as buzzer:
        pieces = [piece async for piece in buzzer.speak(SpeechRequest(call_id="c", text="a b"))]
    assert [len(piece) for piece in pieces] == [480, 480, 480]


async def test_the_turn_detector_finds_both_edges() -> None:
    (spec,) = registered("speech", "voicecall_register_turn_detectors")
    async with spec.open(None, None) as factory:
        detector = factory()
    assert detector.push(b"\xff" * 160) == []
    assert detector.push(b"\x20" * 160) == [SpeechEdge(speaking=True)]
    assert detector.push(b"\x20" * 160) == []
    assert detector.push(b"\xff" * 160) == [SpeechEdge(speaking=False)]


async def test_the_responder_answers_and_ends_the_call() -> None:
    (spec,) = registered("responder", "voicecall_register_responders")
    async with spec.open(None, None, "grey") as parrot:
        said = [event async for event in parrot.respond(TurnRequest(call_id="c", turn=1, text="Hi"))]
        end = [event async for event in parrot.respond(TurnRequest(call_id="c", turn=2, text="Goodbye now"))]
    assert said == [TextDelta("You said: Hi")]
    assert isinstance(end[-1], EndCall)


async def test_the_model_hums_what_it_is_told() -> None:
    (spec,) = registered("realtime", "voicecall_register_realtime_models")
    request = RealtimeRequest(call_id="c", instructions="Hum.")
    async with spec.open(None, None) as model, model.open_session(request) as session:
        session.say("two words", asked="greeting")
        events = []
        async for event in session:
            events.append(event)
            if isinstance(event, ReplyEnded):
                break
    assert [type(event).__name__ for event in events] == [
        "SessionReady",
        "ReplyBegan",
        "ReplyText",
        "ReplyAudio",
        "ReplyAudio",
        "ReplyEnded",
    ]


async def test_the_policy_refuses_and_the_router_changes_the_plan() -> None:
    policy, router = registered("decisions", "voicecall_register_policies", config=None)
    offer = CallOffer(
        direction="outbound", carrier="local", from_number="+4930123456", to_number="+19005550000"
    )
    admission = await policy.admit(offer)
    assert not admission.allowed
    assert (await router.route(offer, CallPlan())).language == "de"


async def test_the_tool_answers() -> None:
    (tool,) = registered("decisions", "voicecall_register_tools", config=None)
    assert "nine to five" in await tool.handler(TurnRequest(call_id="c", turn=1, text=""), {"day": "Monday"})


def test_the_command_greets() -> None:
    cli = click.Group()
    load("surfaces")[1].hook.voicecall_register_cli(cli=cli)
    assert CliRunner().invoke(cli, ["greet", "Sam"]).output == "Hello Sam\n"


def test_the_route_is_added() -> None:
    app = web.Application()
    load("surfaces")[1].hook.voicecall_register_routes(app=app, config=None)
    assert "/hello" in {resource.canonical for resource in app.router.resources()}


async def test_the_lifespan_leaves_nothing_behind(state_dir: Path) -> None:
    runtime = types.SimpleNamespace(state_dir=state_dir)
    (lifespan,) = load("surfaces")[1].hook.voicecall_lifespan(runtime=runtime)
    async with lifespan:
        assert (state_dir / "greeter-is-here").exists()
    assert not list(state_dir.iterdir())


def test_the_secret_of_somebody_else_is_left_to_them() -> None:
    assert load("configuration")[1].hook.voicecall_resolve_secret(reference="env:HOME") is None
