"""Writes the agent's turns with a chat model, over a streamed chat completion of OpenAI's API."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

import aiohttp

from openclaw_voicecall.api.responder import ResponseEvent, TextDelta, TurnRequest
from openclaw_voicecall.api.turntools import TurnTools
from openclaw_voicecall.errors import VendorError, VendorRejected, VendorUnavailable
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.connection import ChatConnection
from openclaw_voicecall.providers.chat.events import read_chunks
from openclaw_voicecall.providers.chat.failures import (
    FAILURES,
    OPERATION,
    Failure,
    is_model_gone,
    not_a_stream,
    vendor_error,
)
from openclaw_voicecall.providers.chat.messages import Message, write_messages
from openclaw_voicecall.providers.chat.replies import Reply
from openclaw_voicecall.providers.chat.spoken import SpokenText
from openclaw_voicecall.providers.chat.tools import definitions, run_all
from openclaw_voicecall.providers.chat.vendors import CUSTOM, ChatVendor

logger = logging.getLogger(__name__)

ROUNDS: Final = 5
"""Times that a model may use tools in one turn. Then it has to answer."""


class ChatResponder:
    """A chat model of one vendor.

    A model that the vendor has retired is asked for all the same, by its own name. Where the vendor does not know it
    any more and its replacement is known, that one answers, in the same turn and from then on.

    Args:
        connection: To the account, shared with other models.
        vendor: Whose model it is.
        config: The vendor's settings.
        model: The vendor's name of the model.
    """

    def __init__(
        self, connection: ChatConnection, vendor: ChatVendor, config: ChatConfig, model: str
    ) -> None:
        self._connection = connection
        self._vendor = vendor
        self._config = config
        self._asked_for = model
        self._model = model
        """The model in use."""
        allowed = config.speculative
        self.speculative = vendor.name != CUSTOM if allowed is None else allowed
        """Whether an answer may be begun and thrown away."""

    async def respond(self, request: TurnRequest) -> AsyncGenerator[ResponseEvent, None]:
        """Write the turn: text as it comes, and what is to be done to the call.

        Raises:
            VendorError: The vendor failed, or wrote nothing that can be said.
        """
        tools = TurnTools(request)
        messages = write_messages(request, actions=tools.actions)
        spoken = False
        reply = Reply()
        for round_number in range(ROUNDS + 1):
            reply = Reply()
            try:
                async with aclosing(
                    self._write(messages, tools, reply, last=round_number == ROUNDS)
                ) as texts:
                    async for text in texts:
                        spoken = spoken or not text.isspace()
                        yield TextDelta(text)
            except VendorError as error:
                if tools.last is None:
                    raise
                logger.warning("no last words", extra={"vendor": self._vendor.name, "detail": str(error)})
                break
            if not reply.calls or round_number == ROUNDS:
                break
            if reply.text.strip():
                yield TextDelta("\n")  # ends the sentence, so that it is heard while the tools run
            results, unfinished = await run_all(tools, reply.calls)
            for event in tools.take_events():
                yield event
            if not unfinished and (spoken or tools.last is None):
                break
            messages += [reply.message(with_reasoning=self._vendor.wants_reasoning_back), *results]
        if tools.last is not None:
            yield tools.last
        elif not spoken and not tools.pressed:
            raise self._nothing_to_say(reply)

    async def _write(
        self, messages: list[Message], tools: TurnTools, reply: Reply, *, last: bool
    ) -> AsyncGenerator[str, None]:
        """One request: the text to be spoken, in pieces. Fills `reply`."""
        fields: dict[str, Any] = {}
        if offered := definitions(tools):
            fields["tools"] = offered
            if last:
                fields["tool_choice"] = "none"
        words = SpokenText()
        # Leaving closes the connection where the reply is not complete: that is how the vendor learns to stop.
        async with AsyncExitStack() as stack:
            answer = await self._open(stack, messages, fields)
            try:
                async with aclosing(read_chunks(answer)) as chunks:
                    async for chunk in chunks:
                        if text := words.push(reply.take(chunk)):
                            yield text
            except FAILURES as error:
                raise self._vendor_error(error, self._model) from error
            if not reply.chunks:
                raise not_a_stream(self._vendor, answer.headers.get("content-type", ""))
        if reply.broke_off and reply.text.strip():
            raise VendorUnavailable(
                f"{self._vendor.name} broke off its reply in the middle of a sentence",
                vendor=self._vendor.name,
                operation=OPERATION,
            )
        if reply.finish in ("length", "content_filter") and reply.text.strip():
            logger.warning("reply cut short", extra={"vendor": self._vendor.name, "detail": reply.finish})

    async def _open(
        self, stack: AsyncExitStack, messages: list[Message], fields: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        asked = self._model
        try:
            return await self._create(stack, asked, messages, {**self._fields(), **fields})
        except FAILURES as error:
            if not is_model_gone(error) or not self._take_replacement(asked):
                raise self._vendor_error(error, asked) from error
        try:
            return await self._create(stack, self._model, messages, {**self._fields(), **fields})
        except FAILURES as error:
            raise self._vendor_error(error, self._model) from error

    async def _create(
        self, stack: AsyncExitStack, model: str, messages: list[Message], fields: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        body = {"model": model, "stream": True, **fields, "messages": messages}
        try:
            return await stack.enter_async_context(self._connection.complete(body))
        except TimeoutError:
            raise
        except (aiohttp.ClientConnectionError, OSError):
            # A connection kept from the last turn may have been closed by the vendor meanwhile.
            return await stack.enter_async_context(self._connection.complete(body))

    def _fields(self) -> dict[str, Any]:
        """What the settings say about a reply."""
        config, fields = self._config, dict[str, Any]()
        if config.temperature is not None:
            fields["temperature"] = config.temperature
        if config.max_completion_tokens is not None:
            fields[self._vendor.length_field] = config.max_completion_tokens
        if config.reasoning_effort is not None:
            fields["reasoning_effort"] = config.reasoning_effort
        elif self._model != self._asked_for and self._asked_for in self._vendor.unthinking:
            fields.update(self._vendor.no_thinking)
        return {**fields, **config.extra_body}

    def _take_replacement(self, gone: str) -> bool:
        """Whether another model answers in place of the one that is gone; it does so from now on."""
        retirement = self._vendor.retired.get(gone)
        if gone != self._asked_for or retirement is None:
            return False
        if self._model == gone:
            self._model = retirement.replacement
            logger.warning(
                "model %s of %s is gone; %s answers from now on: set responseModel to %s/%s",
                gone,
                self._vendor.label,
                self._model,
                self._vendor.name,
                self._model,
            )
        return True

    def _vendor_error(self, error: Failure, model: str) -> VendorError:
        secrets = (
            self._connection.key,
            *(value.get_secret_value() for value in self._config.headers.values()),
        )
        return vendor_error(
            error,
            self._vendor,
            model=model,
            secrets=secrets,
            elsewhere=self._config.base_url is not None,
        )

    def _nothing_to_say(self, reply: Reply) -> VendorError:
        name = self._vendor.name
        if reply.finish == "length":
            text = (
                f"{name} used up its tokens before the first word; raise {self._vendor.setting('maxCompletionTokens')} "
                f"or lower {self._vendor.setting('reasoningEffort')}"
            )
            return VendorRejected(text, vendor=name, operation=OPERATION)
        if reply.finish == "content_filter":
            return VendorRejected(
                f"{name}'s content filter withheld the reply", vendor=name, operation=OPERATION
            )
        what = "nothing that can be spoken" if reply.text.strip() else "an empty reply"
        return VendorUnavailable(f"{name} wrote {what}", vendor=name, operation=OPERATION)
