"""The one exception a user sees without a traceback."""


class AedError(Exception):
    """Something the user can put right: what was expected, what came, what to do.

    Entry points print the message alone and leave with exit code 1.
    """


def find_aed_error(error: BaseException | None) -> AedError | None:
    """The AedError behind ``error``, or None: Hydra, Lightning and jsonargparse wrap what they call."""
    while error is not None and not isinstance(error, AedError):
        error = error.__cause__ or error.__context__
    return error
