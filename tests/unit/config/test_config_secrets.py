import pytest
from pydantic import SecretStr

from openclaw_voicecall.config.base import CamelModel
from openclaw_voicecall.config.load import load_config
from openclaw_voicecall.config.schema import build_config_model
from openclaw_voicecall.config.secrets import redacted, resolve_reference
from openclaw_voicecall.errors import ConfigError

pytestmark = pytest.mark.unit


class Vendor(CamelModel):
    token: SecretStr | None = None
    account: str | None = None
    keys: tuple[SecretStr, ...] = ()


MODEL = build_config_model({"vendor": Vendor})
CANARY = "sk-canary-7f3a"


def vendor(settings, *, env=None, resolve=lambda reference: None):
    loaded = load_config({"vendor": settings}, model=MODEL, env=env or {}, resolve=resolve)
    return loaded.config.carrier_settings("vendor")


def token(reference, **options):
    return vendor({"token": reference}, **options).token.get_secret_value()


@pytest.mark.parametrize(
    "reference",
    ["${PHONE_TOKEN}", "env:PHONE_TOKEN", {"source": "env", "provider": "default", "id": "PHONE_TOKEN"}],
)
def test_a_secret_comes_from_the_environment_in_every_spelling(reference):
    assert token(reference, env={"PHONE_TOKEN": CANARY}) == CANARY


@pytest.mark.parametrize(
    "reference",
    ["${PHONE_TOKEN}", "env:PHONE_TOKEN", {"source": "env", "provider": "default", "id": "PHONE_TOKEN"}],
)
@pytest.mark.parametrize("env", [{}, {"PHONE_TOKEN": ""}])
def test_a_missing_or_empty_variable_is_named_with_its_field(reference, env):
    with pytest.raises(ConfigError) as caught:
        token(reference, env=env)
    assert str(caught.value).endswith("vendor.token: the environment variable PHONE_TOKEN is not set")


def test_a_secret_comes_from_a_file_without_its_last_newline(tmp_path):
    (tmp_path / "token").write_text(f"{CANARY}\n")
    assert token(f"file:{tmp_path}/token") == CANARY
    assert token({"source": "file", "provider": "default", "id": f"{tmp_path}/token"}) == CANARY


def test_a_file_that_cannot_be_used_is_named_with_its_field(tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    for name, reason in (
        ("nowhere", "cannot be read: No such file"),
        ("empty", "is empty"),
        ("binary", "is not text"),
        ("large", "is too large"),
    ):
        with pytest.raises(ConfigError, match=rf"vendor\.token: the file .*{name} {reason}"):
            token(f"file:{tmp_path}/{name}")
    with pytest.raises(ConfigError, match="expected an absolute path after file:"):
        token("file:token")


def test_a_plugin_resolves_its_own_references_and_is_asked_first():
    asked = []

    def resolve(reference):
        asked.append(reference)
        return {"vault:phone": CANARY, "env:PHONE_TOKEN": "from the plugin"}.get(reference)

    assert token("vault:phone", resolve=resolve) == CANARY
    assert token("${PHONE_TOKEN}", resolve=resolve, env={"PHONE_TOKEN": "x"}) == "from the plugin"
    assert asked == ["vault:phone", "env:PHONE_TOKEN"]


def test_a_reference_object_that_nobody_resolves_is_an_error():
    with pytest.raises(ConfigError, match=r"vendor\.token: no plugin resolves secrets of the kind exec"):
        token({"source": "exec", "provider": "vault", "id": "x"})


def test_a_secret_with_a_colon_is_itself_where_no_plugin_knows_it():
    assert token("user:password") == "user:password"


def test_text_and_lists_take_references_too():
    env = {"ACCOUNT": "AC1", "KEY": CANARY, "GREETING": "Hi"}
    made = vendor({"account": "${ACCOUNT}", "keys": ["env:KEY", "plain"]}, env=env)
    assert made.account == "AC1"
    assert [key.get_secret_value() for key in made.keys] == [CANARY, "plain"]


def test_plain_text_is_no_reference():
    loaded = load_config(
        {"inboundGreeting": "env:HOME is a variable", "responseSystemPrompt": "Say ${HOME}."},
        model=MODEL,
        env={},
    )
    assert loaded.config.inbound_greeting == "env:HOME is a variable"
    assert loaded.config.response_system_prompt == "Say ${HOME}."


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_secret_is_refused(empty):
    with pytest.raises(ConfigError, match=r"vendor\.token: expected a secret, found empty text"):
        token(empty)


def test_secrets_are_shown_as_stars():
    loaded = load_config({"vendor": {"token": CANARY, "account": "AC1"}}, model=MODEL, env={})
    shown = redacted(loaded.config)
    assert shown["vendor"] == {"token": "**********", "account": "AC1", "keys": []}
    assert CANARY not in f"{shown} {loaded} {loaded.config!r} {loaded.config}"


@pytest.mark.parametrize(
    "raw",
    [
        {"vendor": {"token": [CANARY]}},
        {"vendor": {"token": {"value": CANARY}}},
        {"vendor": {"token": CANARY, "tokn": CANARY}},
        {"vendor": CANARY},
        {"vendor": {"keys": CANARY}},
        {"streaming": {"providers": {"openai": CANARY}}},
        {"tts": CANARY},
        {"publicUrl": f"https://user:{CANARY}@example.com/"},
        {"publicUrl": f"ftp://{CANARY}"},
        {"twilio": {"authToken": {"source": "env", "id": "X", "extra": CANARY}}},
    ],
)
def test_no_error_shows_a_secret(raw):
    with pytest.raises(ConfigError) as caught:
        load_config(raw, model=MODEL, env={})
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_built_in_references_leave_others_alone():
    assert resolve_reference("vault:x", {}) is None
    assert resolve_reference("env:X", {"X": "1"}) == "1"
    assert resolve_reference("env:X", {}) is None
    assert resolve_reference("env:X", {"X": ""}) is None
