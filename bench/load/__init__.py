"""The load of `bench/many_calls.py`: stand-ins for Twilio, its callers and the vendors, and what is measured."""
