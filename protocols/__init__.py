"""Pure code: what goes over the wires, and nothing that waits."""
