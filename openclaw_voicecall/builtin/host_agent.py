"""The responder `host`: the agent of the program we live in, such as OpenClaw, writes the turns.

`responseModel` need not name it: in a host it is the default. `host/<agentId>` asks for another of its agents, and
`host/<agentId>@<model>` for another model, which it uses on calls only.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from openclaw_voicecall import hookimpl
from openclaw_voicecall.api.host import Host
from openclaw_voicecall.api.responder import Responder, ResponseEvent, TurnRequest
from openclaw_voicecall.api.spec import NoSettings, ResponderSpec, Runtime
from openclaw_voicecall.errors import ConfigError
from openclaw_voicecall.hookspecs import Register
from openclaw_voicecall.providers._pauses import with_pauses


class HostAgent:
    """Hands turns to the host.

    Args:
        host: The program.
        wanted: Which of its agents, and on which model, as in `TurnRequest.for_agent`.
    """

    def __init__(self, host: Host, wanted: str) -> None:
        self._host = host
        self._wanted = wanted

    async def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the agent write the turn. Raises `VendorError`."""
        writing = self._host.agent_turn(request.for_agent(self._wanted))
        async with aclosing(with_pauses(writing)) as events:
            async for event in events:
                yield event


@hookimpl
def voicecall_register_responders(register: Register[ResponderSpec]) -> None:
    """Register `host`."""
    register(
        ResponderSpec(
            name="host",
            describe=lambda config: "the agent of the host program",
            check=_check,
            open=_open,
        )
    )


@asynccontextmanager
async def _open(config: NoSettings, runtime: Runtime, model: str) -> AsyncIterator[Responder]:
    yield HostAgent(_host(runtime), model)


async def _check(config: NoSettings, runtime: Runtime, model: str) -> str:
    return f"{_host(runtime).name} answers"


def _host(runtime: Runtime) -> Any:
    if runtime.host is None:
        raise ConfigError(
            "responseModel: there is no host program here whose agent could answer; run the service inside OpenClaw, "
            "or set it to openclaw, which asks a gateway on this machine, or to a model such as openai/gpt-5.6-luna"
        )
    return runtime.host
