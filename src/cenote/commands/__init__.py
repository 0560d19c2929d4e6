"""One file for each command: what it means, its arguments, and the function that yields the lines it prints."""
