"""One request, one effect: a signed request that comes again gets the answer that it got, also after a crash."""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from openclaw_voicecall.api.carrier import WebhookReply
from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import ANSWERS_KEPT, CallStore, WebhookAnswer
from openclaw_voicecall.server.notes import SparseLog

logger = logging.getLogger(__name__)

LIFE = 24 * 3600.0
"""Seconds after which an answer of an earlier process means nothing any more."""
KEEP_LIMIT = 1.0
"""Seconds that an answer may wait to be on disk; then it is given all the same."""


class Answers:
    """Answers to signed requests, by carrier and by what the carrier signed.

    A request is answered once its answer is on disk, so whoever has heard an answer hears the same one from the next
    process. The address of a media stream in it is worth nothing then: its token died with the process.

    Args:
        store: Keeps them over restarts.
        clock: Says when they were given.
    """

    def __init__(self, store: CallStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._given: OrderedDict[tuple[str, str], asyncio.Future[WebhookReply]] = OrderedDict()
        self._log = SparseLog(logger)

    async def restore(self) -> None:
        """Learn what earlier processes answered. Raises `StoreError`."""
        for kept in await self._store.answers(since=self._clock.wall() - LIFE):
            reply = WebhookReply(status=kept.status, content_type=kept.content_type, body=kept.body)
            self._expect(kept.carrier, kept.replay_key).set_result(reply)

    async def once(
        self, carrier: str, replay_key: str, answer: Callable[[], Awaitable[WebhookReply]], *, keep: bool
    ) -> WebhookReply:
        """Answer a request, or say again what it was answered.

        Args:
            carrier: Who sent it.
            replay_key: What they signed.
            answer: Carries the request out. Called once, also for requests that come at the same time.
            keep: Whether the answer is to outlive this process: not where carrying it out changed nothing.
        """
        # What is on disk must not help anybody to sign: the key may be the signature itself.
        key = hashlib.sha256(replay_key.encode()).hexdigest()
        known = self._given.get((carrier, key))
        if known is None:
            known = self._expect(carrier, key)
            try:
                reply = await answer()
                if keep:
                    await self._keep(carrier, key, reply)
            except BaseException:
                if self._given.get((carrier, key)) is known:  # in a flood it may be forgotten by now
                    del self._given[carrier, key]
                known.cancel()
                raise
            known.set_result(reply)
        return await asyncio.shield(known)

    def _expect(self, carrier: str, key: str) -> asyncio.Future[WebhookReply]:
        reply: asyncio.Future[WebhookReply] = asyncio.get_running_loop().create_future()
        self._given[carrier, key] = reply
        while len(self._given) > ANSWERS_KEPT:
            self._given.popitem(last=False)
        return reply

    async def _keep(self, carrier: str, key: str, reply: WebhookReply) -> None:
        try:
            async with asyncio.timeout(KEEP_LIMIT):
                await self._store.put_answer(
                    WebhookAnswer(
                        carrier=carrier,
                        replay_key=key,
                        at=self._clock.wall(),
                        status=reply.status,
                        content_type=reply.content_type,
                        body=reply.body,
                    )
                )
        except Exception as error:  # whatever the store does, the carrier gets its answer
            self._log.warning(
                "an answer to %s is not on disk, so after a restart its request would count anew: %s",
                carrier,
                str(error) or type(error).__name__,
            )
