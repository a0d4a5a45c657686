"""What the product costs, measured beside floors and peers in one run. `python -m bench` runs all of it."""
