"""Broken promises."""


class Breach(AssertionError):
    """A promise was broken."""


def require(kept: object, message: str) -> None:
    if not kept:
        raise Breach(message)
