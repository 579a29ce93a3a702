"""How a stream of slates is judged, and the report of it."""
