"""What request handlers find in the aiohttp application."""

from aiohttp import web

from openclaw_voicecall.api.clock import Clock
from openclaw_voicecall.api.store import CallStore
from openclaw_voicecall.calls.journal import JournalHub
from openclaw_voicecall.calls.manager import CallManager
from openclaw_voicecall.calls.tokens import StreamTokens

MANAGER = web.AppKey("manager", CallManager)
STORE = web.AppKey("store", CallStore)
HUB = web.AppKey("hub", JournalHub)
TOKENS = web.AppKey("tokens", StreamTokens)
CLOCK = web.AppKey("clock", Clock)
