"""Connections and topics inside one process: the hub, back-pressure, resume. Knows no wire format."""
