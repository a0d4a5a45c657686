"""The product on one machine: `python -m deploy.local` starts servers that come as wheels, then the Procfile."""
