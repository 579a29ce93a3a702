"""Candidate sources: where the items that may be recommended come from. One file each."""
