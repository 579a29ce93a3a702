"""The monitor of public opinion: what a text is about and in which mood, and when a topic is written about as it never is.

    texts          schema and cleaning of `texts` and `labels`, and what goes from READ to JUDGE
    rings          the last so many of something, as rows of keyed state
    fingerprints   SimHash: near-duplicates within a time
    heads          topic and mood of a vector, tuned by labels
    gazetteer      entities by their names
    judge          all of these, of one text after the other
    seasons        what a series of windows is expected to be
    surges         the windows of a topic: alerts raised and cleared
    typical        which texts tell what many are about
    alerts         schema of `alerts`
    local          the same objects in one process, in the order of the job
"""
