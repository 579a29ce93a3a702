"""The worlds of the domains: seeded people, items and texts that the presets in conf/domains are judged in."""
