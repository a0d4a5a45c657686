"""The web process: settings, wiring, middleware, start-up and drain."""
