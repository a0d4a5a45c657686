"""Adapters to what keeps things: one file a store, verbs of the domain in, plain data out, no business rule."""
