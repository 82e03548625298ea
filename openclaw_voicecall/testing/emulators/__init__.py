"""Strict stand-ins for vendors, on 127.0.0.1.

Each is written from its vendor's documentation and refuses what the vendor refuses, with the vendor's own words, so
that a client that would fail in the world fails here. None of them uses this package's own clients or codecs.

By hand: `python -m openclaw_voicecall.testing.emulators --help`.
"""
