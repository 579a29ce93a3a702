"""The page of `flinkrec evaluate --report`: numbers of `models.evaluation.figures` in, one self-contained HTML file out."""
