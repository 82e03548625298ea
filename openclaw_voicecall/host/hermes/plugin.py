"""What hermes is given: a command, a tool, a skill, hooks, and a platform of its gateway."""

import argparse
import atexit
import importlib
import json
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openclaw_voicecall.errors import VoiceCallError
from openclaw_voicecall.host.hermes import tool

if TYPE_CHECKING:
    from openclaw_voicecall.host.hermes.agent import HermesHost
    from openclaw_voicecall.host.hermes.line import PhoneLine

COMMAND: Final = "voicecall"
PLATFORM: Final = "voicecall"
HOOKS: Final = ("pre_llm_call", "on_session_end", "on_session_finalize")
SKILL: Final = Path(__file__).parents[1] / "openclaw" / "bridge" / "skills" / "voice-call" / "SKILL.md"
"""The same for the agents of all hosts."""

_TALKING: Final = frozenset({"call", "serve", "smoke"})
"""Commands that may have the agent talk."""
_CHATTY: Final = ("tools.registry", "agent.model_metadata")
"""Loggers of hermes that warn of every tool nobody set up; in a chat they write to a file."""
_SESSIONS: Final = 1000
"""Sessions of hermes kept in mind; a gateway has many."""
_WATCHDOG: Final = "exit-watchdog"
"""The thread by which hermes ends its process after 30 s, whatever still runs in it (cli.py)."""
_HURRY: Final = 15.0
"""Seconds that a stop may take then."""
_LOOK_EVERY: Final = 0.2


class Plugin:
    """This plugin in one process of hermes.

    Args:
        ctx: As for `register`.
    """

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._sessions: OrderedDict[str, str] = OrderedDict()
        """Keys of the sessions seen in this process, such as `cli:20260101_1` or `telegram:20260101_2`, by their id."""
        self._busy: set[str] = set()
        """Keys of sessions whose agent is in a turn."""
        self._line: PhoneLine | None = None
        self._making = threading.Lock()

    def register(self) -> None:
        """Tell hermes everything."""
        self._ctx.register_tool(
            name=tool.NAME,
            toolset=COMMAND,
            schema={"name": tool.NAME, "description": tool.DESCRIPTION, "parameters": tool.PARAMETERS},
            handler=self.call_tool,
            description=tool.DESCRIPTION,
            emoji="📞",
        )
        self._ctx.register_cli_command(
            COMMAND,
            help="Place and manage phone calls",
            setup_fn=partial(_take_all_words, handler=self.run_command),
            handler_fn=self.run_command,
            description="Place and manage phone calls",
        )
        for hook, handler in zip(HOOKS, (self.before_turn, self.after_turn, self.before_exit), strict=True):
            self._ctx.register_hook(hook, handler)
        self._ctx.register_skill("voice-call", SKILL, "When and how to telephone, and what never to say.")
        self._ctx.register_platform(
            name=PLATFORM,
            label="Telephone",
            adapter_factory=self._telephone,
            check_fn=lambda: True,
            emoji="📞",
        )

    @cached_property
    def host(self) -> "HermesHost":
        """Hermes as our host."""
        from hermes_constants import get_hermes_home  # noqa: PLC0415 is there where this runs

        from openclaw_voicecall.host.hermes.agent import HermesHost  # noqa: PLC0415 costs time
        from openclaw_voicecall.host.hermes.outcomes import Outcomes  # noqa: PLC0415 as above

        return HermesHost(Outcomes(get_hermes_home() / "voicecall" / "outcomes"), self._inject)

    @property
    def line(self) -> "PhoneLine":
        """The phone line of this process, not yet open."""
        with self._making:  # tools run in threads
            if self._line is None:
                self._line = self._new_line()
            return self._line

    def _new_line(self) -> "PhoneLine":
        from openclaw_voicecall.host.hermes.agent import prewarm  # noqa: PLC0415 as above
        from openclaw_voicecall.host.hermes.line import PhoneLine  # noqa: PLC0415 as above
        from openclaw_voicecall.host.sharing import SharedService  # noqa: PLC0415 as above

        line = PhoneLine(lambda: SharedService(self.host, self.host.turns, prewarm=prewarm))
        atexit.register(line.stop)
        return line

    def call_tool(self, arguments: Mapping[str, Any], *, session_id: str = "", **_: Any) -> str:
        """Run the tool `voice_call`. Returns JSON: the result, or `{"error": ...}`."""
        from tools.interrupt import is_interrupted  # noqa: PLC0415 of hermes

        given = {name: value for name, value in arguments.items() if value not in ("", None)}
        context = {"sessionKey": self._key(session_id)} if session_id else {}
        try:
            result = self.line.tool({**given, "_ctx": context}, given_up=is_interrupted)
        except VoiceCallError as error:
            result = {"error": f"{tool.NAME}: {error}", "code": error.code}
        return json.dumps(result, ensure_ascii=False, default=str)

    def run_command(self, args: argparse.Namespace) -> None:
        """Run `hermes voicecall WORDS`: our own command line, with hermes' agent as who answers."""
        from openclaw_voicecall.host.hermes.agent import prewarm  # noqa: PLC0415 costs time

        if _TALKING.intersection(args.words):
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.ERROR)
            prewarm()
        # By name, because the command line stands above the hosts it can be run in.
        command_line = importlib.import_module("openclaw_voicecall.cli")
        command_line.main(args.words, program=f"hermes {COMMAND}", host=self.host)

    def before_turn(
        self, *, session_id: str = "", platform: str = "", is_first_turn: bool = False, **_: Any
    ) -> dict[str, str] | None:
        """Tell the agent of a session what became of the calls it asked for."""
        key = self.host.conversations.key_of(session_id) or f"{platform or 'cli'}:{session_id}"
        self._sessions[session_id] = key
        self._busy.add(key)
        while len(self._sessions) > _SESSIONS:
            self._busy.discard(self._sessions.popitem(last=False)[1])
        told = self.host.take_outcomes(key, begins=is_first_turn)
        return {"context": "\n\n".join(told)} if told else None

    def after_turn(self, *, session_id: str = "", **_: Any) -> None:
        """Note that a session is idle."""
        self._busy.discard(self._key(session_id))

    def before_exit(self, *, reason: str = "", platform: str = "", **_: Any) -> None:
        """Keep a terminal's process, which is about to exit, until its calls are over; Ctrl-C hangs them up."""
        if reason != "shutdown" or platform == "gateway" or self._line is None:
            return
        hurry = any(thread.name == _WATCHDOG for thread in threading.enumerate())
        if self.line.live_calls and not hurry:
            print("a phone call goes on; Ctrl-C hangs up", file=sys.stderr)
            try:
                while self.line.live_calls:
                    time.sleep(_LOOK_EVERY)
            except KeyboardInterrupt:
                hurry = True
        self.line.stop(limit=_HURRY if hurry else None)

    def _key(self, session_id: str) -> str:
        return self._sessions.get(session_id) or f"cli:{session_id}"

    def _inject(self, key: str, text: str) -> bool:
        """Begin a turn of a terminal's session that is shown here and idle."""
        shown = key in self._sessions.values() and key.startswith("cli:") and key not in self._busy
        # Asked first, because hermes logs a warning where there is no terminal.
        return shown and _has_terminal(self._ctx) and bool(self._ctx.inject_message(text))

    def _telephone(self, config: Any) -> Any:
        from openclaw_voicecall.host.hermes.platform import adapter  # noqa: PLC0415 as above

        return adapter(config, self.line, PLATFORM)


def _has_terminal(ctx: Any) -> bool:
    return getattr(getattr(ctx, "_manager", None), "_cli_ref", None) is not None


def _take_all_words(parser: argparse.ArgumentParser, *, handler: Any) -> None:
    """Have a subparser leave every word to us, `--help` too: the words are those of our own command line."""

    def parse(
        words: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found = namespace or argparse.Namespace()
        found.words, found.func = list(words or ()), handler
        return found, []

    setattr(parser, "parse_known_args", parse)  # noqa: B010 mypy takes no method from an instance
