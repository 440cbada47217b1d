"""What ends an attempt."""


class Refusal(Exception):
    """A failure with a code that the broker knows: reported to it."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


class Overtaken(Exception):
    """Something newer is wanted, or a newer attempt is at work: ask again."""

    def __init__(self, result: str):
        super().__init__(result)
        self.result = result


class Unavailable(Exception):
    """The broker cannot be asked now."""
