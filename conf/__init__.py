"""Configuration files: one YAML an environment, and the JSON Schemas of the topics."""
