"""What each order of the core does in the world. Errors come back as facts."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from openclaw_voicecall.api.carrier import LegOrder
from openclaw_voicecall.core import commands as c
from openclaw_voicecall.core.events import CallAnswered, CallEnded, TransferAnswered, TransferFailed
from openclaw_voicecall.core.policy import RECORDING_LINE
from openclaw_voicecall.core.reasons import EndReason
from openclaw_voicecall.errors import VendorError
from openclaw_voicecall.session.dialogue import Dialogue
from openclaw_voicecall.session.responding import Responding

if TYPE_CHECKING:
    from openclaw_voicecall.session.session import CallSession

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 60.0
"""Seconds between attempts to end a leg that the carrier does not end, at most."""

ON_ITS_WAY = 0.25
"""Seconds from the end of a sentence, as a vendor that plays it tells, until the far party has heard it."""

DIAL_LIMIT = 45.0
"""Seconds to wait for the carrier's id of a leg before it is ended."""


def carry_out(session: "CallSession", command: c.Command) -> None:
    """Start what an order asks for; nothing here waits."""
    parts = session.parts
    match command:
        case c.AnswerCall():
            session.give_order(LegOrder(action="stream"))
            session.post(CallAnswered())
        case c.RejectCall(reason):
            session.give_order(LegOrder(action="reject", reason=reason))
        case c.StartListening():
            if session.listening_task is None and parts.listening is not None:
                session.listening_task = session.start(parts.listening.run())
        case c.FinishUtterance():
            if parts.listening is not None:
                parts.listening.finish_utterance()
        case c.StartResponse(turn, text, digits, waited):
            parts.responding.respond(turn, text, digits, waited)
        case c.StartSaying(turn, text):
            parts.responding.say(turn, text)
        case c.CancelResponse(turn):
            parts.responding.cancel(turn)
            parts.speaking.cancel(turn)
        case c.Speak(turn, utterance, text):
            parts.speaking.speak(turn, utterance, text)
        case c.HoldAudio():
            parts.speaking.hold()
        case c.ResumeAudio():
            parts.speaking.resume()
        case c.ClearAudio(turn):
            parts.responding.cut(turn)
            parts.speaking.clear(turn)
        case c.AdoptReply() | c.DropReply() | c.Rehearse() | c.DropRehearsal():
            _judge(parts.responding, command)
        case c.SendDigits(digits):
            _send_digits(session, digits)
        case c.TransferCall(to, announce):
            session.start(_transfer(session, to, announce))
        case c.TakeBack():
            session.start(_take_back(session))
        case c.NoteSaid(name, text):
            session.note("must-say", {"line": name, "text": text})
            if parts.recorder is not None and name == RECORDING_LINE:
                parts.recorder.notice_given()
        case c.AppendTranscript():
            pass  # the record is made from the journal, which holds this order
        case c.HangUp():
            session.start(hang_up(session))
        case c.ReleaseCall():
            session.release()
        case _:
            raise NotImplementedError(f"no effect for {type(command).__name__}")


def _judge(
    writer: Responding | Dialogue, command: c.AdoptReply | c.DropReply | c.Rehearse | c.DropRehearsal
) -> None:
    """Tell whoever writes the agent's turns what may become of one that has begun by itself, or before its time."""
    match command:
        case c.AdoptReply() | c.DropReply() if isinstance(writer, Dialogue):
            writer.judge(command)
        case c.Rehearse(turn, text) if isinstance(writer, Responding):
            writer.rehearse(turn, text)
        case c.DropRehearsal() if isinstance(writer, Responding):
            writer.drop_rehearsal("the turn went on")
        case _:
            raise NotImplementedError(f"no effect for {type(command).__name__} here")


def _send_digits(session: "CallSession", digits: str) -> None:
    match session.parts.capabilities.dtmf_out:
        case "carrier" if session.parts.listening is not None:
            session.start(_send_digits_by_carrier(session, digits))
        case "none":
            _digits_failed(session, "this carrier sends no digits")
        case _:
            if not session.parts.speaking.send_tones(digits):
                _digits_failed(session, "there is no audio to the far party")


async def _send_digits_by_carrier(session: "CallSession", digits: str) -> None:
    try:
        await session.parts.carrier.send_digits(session.leg, digits)
    except (VendorError, OSError) as error:
        _digits_failed(session, str(error))


def _digits_failed(session: "CallSession", detail: str) -> None:
    session.carrier_failed("digits", detail, "the digits were not sent")


async def _transfer(session: "CallSession", to: str, announce: str) -> None:
    parts, limit = session.parts, session.call.policy.transfer_duration
    if not parts.capabilities.transfer:
        session.post(TransferFailed("this carrier cannot transfer"))
        return
    if refusal := await parts.may_dial(to):
        session.note("transfer-refused", {"to": to, "detail": refusal})
        session.post(TransferFailed(refusal))
        return
    if parts.remote is not None:
        await asyncio.sleep(ON_ITS_WAY)
    told = {"announce": announce} if announce and parts.capabilities.announces else {}
    try:
        await parts.carrier.transfer(session.leg, to, caller_id=session.own_number, limit=limit, **told)
    except (VendorError, OSError) as error:
        session.carrier_failed("transfer", str(error), "the agent goes on")
        session.post(TransferFailed(str(error)))
        return
    if parts.capabilities.transfer_proven:
        session.leg_open = False
        session.post(TransferAnswered())
        session.post(CallEnded(EndReason.TRANSFERRED))


async def _take_back(session: "CallSession") -> None:
    if not session.parts.capabilities.turns:
        return
    try:
        await session.parts.carrier.take_over(session.leg)
    except (VendorError, OSError) as error:
        session.carrier_failed("take back", str(error), "given up")


def pauses() -> Iterator[float]:
    """Seconds between attempts at a carrier that cannot be reached: 1, 2, 4, 8 and so on."""
    pause = 1.0
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


async def hang_up(session: "CallSession") -> None:
    """End the leg at the carrier, again and again until it says so, and close the media stream.

    Who cancels this, or finds `session.leg_open` after it, has to see to the end of the leg.
    """
    # A leg that is still being dialled cannot be ended; its id comes when the carrier answers, or never.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DIAL_LIMIT):
            await session.leg_known.wait()
    if session.parts.remote is not None:
        await asyncio.sleep(ON_ITS_WAY)
    for failed, pause in enumerate(pauses() if session.carrier_call_id else ()):
        try:
            await session.parts.carrier.hang_up(session.leg)
        except (VendorError, OSError) as error:
            session.carrier_failed("hang-up", str(error), f"tried again in {pause:g} s")
            if failed and session.media_socket is not None:
                session.media_socket()  # a carrier that misses it asks how to go on, and is told to hang up
            await asyncio.sleep(pause)
        else:
            session.leg_open = False
            if session.parts.remote is not None and session.parts.remote.are_the_call:
                session.post(CallEnded(EndReason.AGENT_HUNG_UP))  # whoever has the audio reports no end
            break
    if session.media_socket is not None:
        session.media_socket()
