"""The one exception that is meant for people: a sentence that says what is wrong and how to mend it."""


class UserError(Exception):
    """Something the person at the terminal can mend; `flinkrec` prints it as one sentence, without a traceback."""
