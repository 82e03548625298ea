"""Settings of the chat responders."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.fields import Positive, PublicUrl


class ChatConfig(CamelModel):
    """A vendor of chat models with an OpenAI-compatible API."""

    api_key: SecretStr | None = None
    """Key of the account. Filled from the vendor's own variable, such as `XAI_API_KEY`."""
    base_url: PublicUrl | None = None
    """Another address of the API, with its version, such as `http://127.0.0.1:8080/v1`. `custom` needs one."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """How freely the model words its replies. Many reasoning models refuse to be told."""
    max_completion_tokens: Positive | None = None
    """Longest reply, tokens. What a reasoning model thinks counts too."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    """How much the model thinks before it speaks. Callers wait meanwhile; models that do not think refuse it."""
    read_timeout_ms: Positive = 15000
    """Longest silence of the vendor, before its first words and between two pieces of a reply, ms."""
    speculative: bool | None = None
    """Whether the model may be asked for an answer that is thrown away when the caller goes on, see
    `endpointing.speculate`. Not set: yes, but not for `custom`, because behind an address of your own may be an agent,
    which would remember the question or act on it."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Further HTTP headers of every request."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request for a reply, as the vendor documents them."""
