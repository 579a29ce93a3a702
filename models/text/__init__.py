"""Texts as vectors: what an encoder is, and language models that are installed or given."""
