"""Answers to questions in words: what was learned of which answers solve which questions, and how sure an answer is."""
