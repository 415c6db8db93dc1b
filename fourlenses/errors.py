"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A mistake in the input, told in one line of three parts; a stage that raises it exits with code 2.

    Arguments: `given`, what was found; `expected`, what it should have been; `remedy`, what to do next.
    """

    def __init__(self, given: str, expected: str, remedy: str) -> None:
        super().__init__(" ".join(f"{given}; expected {expected}; {remedy}".split()))
