"""What every provider of a kind must do, as classes of tests.

Subclass one in a test module of yours, tell it how to make your provider, and pytest runs all of it. The classes need
pytest and pytest-asyncio.
"""
