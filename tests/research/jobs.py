"""Work for the tests of executors: what is submitted must be importable by name."""

import os


def squared(number: int) -> tuple[int, int]:
    """The square, and the process that computed it."""
    return number * number, os.getpid()


def refuse(number: int) -> int:
    raise ValueError(f"no {number}")


def die(_number: int) -> None:
    os._exit(7)
