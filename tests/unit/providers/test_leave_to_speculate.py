"""Who may be asked for an answer that is thrown away: a model without a memory, and nobody whose turns act."""

from unittest.mock import Mock

import pytest

from openclaw_voicecall.api.responder import is_speculative
from openclaw_voicecall.builtin.frontdesk import FrontDesk
from openclaw_voicecall.builtin.host_agent import HostAgent
from openclaw_voicecall.providers.chat.config import ChatConfig
from openclaw_voicecall.providers.chat.responder import ChatResponder
from openclaw_voicecall.providers.chat.vendors import VENDORS
from openclaw_voicecall.providers.openclaw.responder import GatewayAgent

pytestmark = pytest.mark.unit


def gives_leave(vendor_name, **settings):
    (vendor,) = (vendor for vendor in VENDORS if vendor.name == vendor_name)
    return is_speculative(ChatResponder(Mock(), vendor, ChatConfig(**settings), "a-model"))


def test_a_chat_model_gives_leave_unless_it_is_told_not_to():
    assert gives_leave("openai")
    assert not gives_leave("openai", speculative=False)


def test_behind_an_address_of_ones_own_may_be_an_agent_so_the_owner_has_to_say_that_none_is():
    assert not gives_leave("custom")
    assert gives_leave("custom", speculative=True)


@pytest.mark.parametrize("kind", [GatewayAgent, HostAgent, FrontDesk])
def test_an_agent_that_remembers_or_acts_gives_none(kind):
    assert not is_speculative(kind.__new__(kind))
