"""The vendors of OpenAI-compatible chat models: where each is, how its key is called, and what is special about it.

Addresses, field names and dates of retirement are from the vendors' own pages: docs.x.ai (migration guide of May 15,
2026), developers.openai.com (deprecations), api-docs.deepseek.com (thinking mode, news of April 24, 2026),
console.groq.com and inference-docs.cerebras.ai (deprecations), docs.ollama.com (OpenAI compatibility),
ai.google.dev (OpenAI compatibility), openrouter.ai (current key).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from openclaw_voicecall.providers._models import Retirement


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatVendor:
    """A vendor."""

    name: str
    """As in `responseModel: name/model` and in `responders.name`."""
    label: str
    base_url: str = ""
    """Empty where only the configuration knows it."""
    key_variables: tuple[str, ...] = ()
    """Variables of the environment that may hold the key, best first."""
    needs_key: bool = True
    example: str
    """A model, for messages."""
    length_field: str = "max_tokens"
    """How a request bounds its reply."""
    key_path: str = ""
    """What to get to try a key, where the list of models is for everybody."""
    retired: Mapping[str, Retirement] = field(default_factory=dict)
    unthinking: frozenset[str] = frozenset()
    """Retired models that answered without thinking, unlike the models that replace them."""
    no_thinking: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a request that make a model answer without thinking."""
    wants_reasoning_back: bool = False
    """Whether what a model thought must be sent back with its tool calls."""

    def setting(self, key: str) -> str:
        """The name of one of its settings, for messages."""
        return f"responders.{self.name}.{key}"


def _retired(vendor: str, *rows: tuple[date, str, str]) -> dict[str, Retirement]:
    """Rows of the last day, the replacement, and the models it replaces."""
    return {
        model: Retirement(on=day, replacement=replacement, vendor=vendor)
        for day, replacement, models in rows
        for model in models.split()
    }


_XAI: Final = ChatVendor(
    name="xai",
    label="xAI",
    base_url="https://api.x.ai/v1",
    key_variables=("XAI_API_KEY",),
    example="grok-4.3",
    length_field="max_completion_tokens",
    retired=_retired(
        "xAI",
        (
            date(2026, 5, 15),
            "grok-4.3",
            "grok-4-1-fast-reasoning grok-4-1-fast-non-reasoning grok-4-fast-reasoning grok-4-fast-non-reasoning "
            "grok-4-0709 grok-code-fast-1 grok-3",
        ),
    ),
    unthinking=frozenset({"grok-4-1-fast-non-reasoning", "grok-4-fast-non-reasoning", "grok-3"}),
    no_thinking={"reasoning_effort": "none"},
)
_OPENAI: Final = ChatVendor(
    name="openai",
    label="OpenAI",
    base_url="https://api.openai.com/v1",
    key_variables=("OPENAI_API_KEY",),
    example="gpt-5.6-luna",
    length_field="max_completion_tokens",
    retired=_retired(
        "OpenAI",
        (
            date(2026, 10, 23),
            "gpt-5.6-terra",
            "gpt-3.5-turbo gpt-3.5-turbo-0125 o4-mini o4-mini-2025-04-16",
        ),
        (
            date(2026, 10, 23),
            "gpt-5.6-sol",
            "gpt-4 gpt-4-0613 gpt-4-1106-preview gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4o-2024-05-13 o1 "
            "o1-2024-12-17 o3-mini o3-mini-2025-01-31",
        ),
        (date(2026, 10, 23), "gpt-5.6-luna", "gpt-4.1-nano gpt-4.1-nano-2025-04-14"),
        (date(2026, 12, 11), "gpt-5.6-sol", "gpt-5 gpt-5-2025-08-07 o3 o3-2025-04-16"),
        (date(2026, 12, 11), "gpt-5.6-terra", "gpt-5-mini gpt-5-mini-2025-08-07"),
        (date(2026, 12, 11), "gpt-5.6-luna", "gpt-5-nano gpt-5-nano-2025-08-07"),
        (
            date(2027, 1, 14),
            "gpt-6-luna",
            "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4.1 "
            "gpt-4.1-2025-04-14 gpt-4.1-mini gpt-4.1-mini-2025-04-14",
        ),
    ),
)
_DEEPSEEK: Final = ChatVendor(
    name="deepseek",
    label="DeepSeek",
    base_url="https://api.deepseek.com/v1",
    key_variables=("DEEPSEEK_API_KEY",),
    example="deepseek-v4-flash",
    retired=_retired("DeepSeek", (date(2026, 7, 24), "deepseek-v4-flash", "deepseek-chat deepseek-reasoner")),
    unthinking=frozenset({"deepseek-chat"}),
    no_thinking={"thinking": {"type": "disabled"}},
    wants_reasoning_back=True,
)
_GROQ: Final = ChatVendor(
    name="groq",
    label="Groq",
    base_url="https://api.groq.com/openai/v1",
    key_variables=("GROQ_API_KEY",),
    example="openai/gpt-oss-120b",
    length_field="max_completion_tokens",
    retired=_retired(
        "Groq",
        (date(2026, 8, 16), "openai/gpt-oss-120b", "llama-3.3-70b-versatile"),
        (date(2026, 8, 16), "openai/gpt-oss-20b", "llama-3.1-8b-instant"),
    ),
)
_CEREBRAS: Final = ChatVendor(
    name="cerebras",
    label="Cerebras",
    base_url="https://api.cerebras.ai/v1",
    key_variables=("CEREBRAS_API_KEY",),
    example="gpt-oss-120b",
    length_field="max_completion_tokens",
    retired=_retired("Cerebras", (date(2026, 2, 16), "gpt-oss-120b", "llama-3.3-70b qwen-3-32b")),
)
_GOOGLE_KEYS: Final = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_GOOGLE_URL: Final = "https://generativelanguage.googleapis.com/v1beta/openai"

CUSTOM: Final = "custom"
"""Any other server that speaks the protocol."""

VENDORS: Final = (
    _XAI,
    _OPENAI,
    ChatVendor(
        name="openrouter",
        label="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        example="x-ai/grok-4.3",
        key_path="/key",
    ),
    _GROQ,
    ChatVendor(
        name="ollama",
        label="Ollama",
        base_url="http://localhost:11434/v1",
        key_variables=("OLLAMA_API_KEY",),
        needs_key=False,
        example="qwen3:8b",
    ),
    _DEEPSEEK,
    _CEREBRAS,
    ChatVendor(
        name="together",
        label="Together AI",
        base_url="https://api.together.xyz/v1",
        key_variables=("TOGETHER_API_KEY",),
        example="openai/gpt-oss-120b",
    ),
    ChatVendor(
        name="google",
        label="Gemini",
        base_url=_GOOGLE_URL,
        key_variables=_GOOGLE_KEYS,
        example="gemini-3.5-flash",
    ),
    ChatVendor(
        name="gemini",
        label="Gemini",
        base_url=_GOOGLE_URL,
        key_variables=_GOOGLE_KEYS,
        example="gemini-3.5-flash",
    ),
    ChatVendor(
        name="mistral",
        label="Mistral",
        base_url="https://api.mistral.ai/v1",
        key_variables=("MISTRAL_API_KEY",),
        example="mistral-small-latest",
    ),
    ChatVendor(name=CUSTOM, label="the chat server", needs_key=False, example="my-model"),
)
"""Every vendor, `custom` for any other server that speaks the protocol."""
