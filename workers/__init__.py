"""Work that no request waits for: `python -m workers [names]` runs consumers until it is told to stop."""
