"""What a plugin author imports: Protocols and frozen data, nothing that runs."""
