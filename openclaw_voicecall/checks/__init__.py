"""What `doctor` looks at: configuration, accounts, the public address, the number, and every hop of a call by ear."""
