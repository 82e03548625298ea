"""What outlives a call: the state directory, the database in it, and OpenClaw's call log."""
