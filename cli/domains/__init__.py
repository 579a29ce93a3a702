"""`flinkrec demo --domain`: each domain by itself, its preset at work, and a page at the end."""
