"""The domain, one module a service. Knows stores and protocols, neither HTTP nor wire formats."""
