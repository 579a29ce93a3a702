"""What programs and people read of the recommender: the store of slates, the HTTP API, the console."""
