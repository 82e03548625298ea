"""The public testing kit: what a plugin's tests need to hold real calls and to misbehave on purpose.

Installing the package makes the fixtures of `openclaw_voicecall.testing.plugin` known to pytest. Importing
this package is free; each module loads what it needs when it is used.
"""
