"""The edges: parse, call one service, answer. One module a resource, one a stream."""
