"""The load of `bench/many_calls.py`: what stands in for Twilio, the callers and the vendors, and what is measured of it."""
