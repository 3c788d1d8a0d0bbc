"""An environment for each engine, made once with the exact versions of its requirements.txt."""

import os
import re
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parent
ENVIRONMENTS = PEERS.parent / ".environments"
INSTALL_SECONDS = 600


class CannotRunError(Exception):
    """An engine can not be installed or run here; the message says why, in one sentence."""


def interpreter(name: str) -> Path:
    """The interpreter of an engine's environment, which is made where it is missing or out of date.

    Raises CannotRunError with what the installer said.
    """
    folder = ENVIRONMENTS / name
    requirements = PEERS / name / "requirements.txt"
    wanted = requirements.read_text(encoding="utf-8")
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Making the environment of {name} ...", file=sys.stderr)
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(folder / "bin/python"), "-r", str(requirements))
        stamp.write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


def last_line(text: str) -> str:
    """What a failed command said last, which is where the reason stands."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the installer of our own environments
            command, env=_surroundings(), capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
    except FileNotFoundError as missing:
        raise CannotRunError(f"{uv} is missing: run `make setup`") from missing
    except subprocess.TimeoutExpired as slow:
        raise CannotRunError(f"the installer took more than {INSTALL_SECONDS} s") from slow
    if done.returncode:
        raise CannotRunError(last_line(done.stderr))


def _surroundings() -> dict[str, str]:
    """The environment variables for uv, which does not read the settings that tell pip its registry."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"^[^=\n]*\.index-url='(.*)'$", listed, flags=re.MULTILINE)
    return {**os.environ, **({"UV_DEFAULT_INDEX": found[1]} if found else {})}
