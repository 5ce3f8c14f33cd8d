"""The one exception a user sees without a traceback."""


class AedError(Exception):
    """Something the user can put right: what was expected, what came, what to do.

    Entry points print the message alone and leave with exit code 1.
    """
