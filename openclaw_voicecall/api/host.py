"""The program we live in, where there is one."""

from collections.abc import AsyncGenerator
from typing import Final, Protocol

from openclaw_voicecall.api.responder import ResponseEvent, TurnRequest
from openclaw_voicecall.api.store import CallRecord

TRANSCRIPT_PATH: Final = "transcriptPath"
"""In the metadata of a record that is delivered: path of a text file with all that was said."""


class Host(Protocol):
    """An agent host such as OpenClaw or hermes-agent. `ServiceOptions.host` takes one; docs/hosts.md has a whole one.

    Its methods run in the event loop of the service, and for several calls at the same time.
    """

    name: str
    """How `responseModel` names the host."""

    def agent_turn(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Let the host's own agent write a turn, and pass its words on as they come.

        Closing the iterator interrupts the agent: nobody hears the rest. The next turn's `history` says what was heard.

        Raises:
            VendorError: The agent gave no answer; the caller hears an apology.
        """
        ...

    async def deliver(self, session_key: str, record: CallRecord) -> None:
        """Bring the outcome of a call to the chat that asked for it.

        What it raises says that the chat does not know yet: then it is called again, after a restart too.
        """
        ...

    async def note(self, session_key: str, record: CallRecord, since: int) -> None:
        """Let that chat know what was said so far, from line `since` of the transcript on, without waking anybody.

        Only with `reports.live`. A host may leave this method out.
        """
        ...
