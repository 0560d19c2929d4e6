"""The only rooms that know architectures."""
