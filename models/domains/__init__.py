"""The worlds of the domains: people and catalogues, made of a seed, in which presets are judged; docs/domains specifies each."""
