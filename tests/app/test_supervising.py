"""Services are started again when they end, and ended together."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from crypto_tracker.app.supervising import (
    PARENT_VARIABLE,
    Patience,
    Service,
    ServiceEnded,
    own_command,
    supervise,
)

QUICK = Patience(backoff=0.02, backoff_max=0.04, stable=60.0, look=0.02, end=120.0)


class Listener:
    """Notes what is told, and stops once something was told."""

    def __init__(self, enough) -> None:
        self.told: list[tuple[str, str]] = []
        self.stop = asyncio.Event()
        self._enough = enough

    def __call__(self, name: str, line: str) -> None:
        self.told.append((name, line))
        if self._enough(self.told):
            self.stop.set()


def service(name: str, script: str, **more) -> Service:
    return Service(name=name, arguments=(sys.executable, "-u", "-c", textwrap.dedent(script)), **more)


def run(services: list[Service], enough, patience: Patience = QUICK) -> Listener:
    async def all_of_it() -> Listener:
        listener = Listener(enough)
        async with asyncio.timeout(240):
            await supervise(services, os.environ, listener, listener.stop, patience)
        return listener

    return asyncio.run(all_of_it())


WAITS = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('ends in order')))\n"


def test_what_a_service_says_is_passed_on_and_it_is_asked_to_end():
    heard = run(
        [service("one", WAITS + "print('begins')\nsignal.pause()")], lambda told: ("one", "begins") in told
    )
    assert heard.told == [("one", "begins"), ("one", "ends in order")]


def test_a_service_that_ends_is_started_again_after_waits_that_grow():
    heard = run([service("one", "raise SystemExit(1)")], lambda told: len(told) == 4)
    assert [line for _, line in heard.told] == [
        "ended with exit code 1; starts again in 0.02 s",
        "ended with exit code 1; starts again in 0.04 s",
        "ended with exit code 1; starts again in 0.04 s",
        "ended with exit code 1; starts again in 0.04 s",
    ]


def test_a_service_with_one_task_is_done_when_it_ends_well_and_tried_again_when_not(tmp_path: Path):
    script = f"""
        import pathlib, sys
        tries = pathlib.Path({str(tmp_path / "tries")!r})
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        print("try", len(tries.read_text()))
        sys.exit(0 if len(tries.read_text()) == 3 else 1)
        """
    other = WAITS + "import time\nwhile True: time.sleep(0.2); print('lives')"
    heard = run(
        [service("task", script, once=True), service("other", other)],
        lambda told: ("task", "try 3") in told and told.count(("other", "lives")) >= 5,
    )
    assert [line for name, line in heard.told if name == "task"] == [
        "try 1",
        "ended with exit code 1; starts again in 0.02 s",
        "try 2",
        "ended with exit code 1; starts again in 0.04 s",
        "try 3",
    ]


def test_a_service_that_was_killed_is_started_again_while_the_other_goes_on():
    script = "import os, signal\nprint('begins')\nos.kill(os.getpid(), signal.SIGKILL)"
    heard = run(
        [service("one", script), service("two", WAITS + "print('begins')\nsignal.pause()")],
        lambda told: told.count(("one", "begins")) == 3 and ("two", "begins") in told,
    )
    assert ("one", "was killed by signal 9; starts again in 0.02 s") in heard.told
    assert heard.told.count(("two", "begins")) == 1


def test_a_service_that_only_a_person_can_mend_ends_all_with_its_exit_code():
    others = service("two", WAITS + "print('begins')\nsignal.pause()")
    with pytest.raises(ServiceEnded, match=r"one has ended, as its records do not add up") as ended:
        run([service("one", "raise SystemExit(3)"), others], lambda _: False)
    assert ended.value.code == 3


def test_a_service_waits_until_it_may_start_and_says_once_why_not():
    reasons = ["no bars yet", "no bars yet", "still catching up", None]
    heard = run(
        [service("one", "print('begins')", waits_for=lambda: reasons.pop(0) if len(reasons) > 1 else None)],
        lambda told: ("one", "begins") in told,
    )
    assert heard.told[:3] == [("one", "no bars yet"), ("one", "still catching up"), ("one", "begins")]


def test_a_service_that_does_not_end_when_asked_is_killed():
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('begins')\nwhile True: signal.pause()"
    heard = run(
        [service("one", deaf)],
        lambda told: ("one", "begins") in told,
        Patience(backoff=0.02, backoff_max=0.02, stable=60.0, look=0.02, end=0.2),
    )
    assert heard.told == [("one", "begins")]  # and not, that it ended in order


CHILD = """
import os, signal, sys
from crypto_tracker.app.supervising import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open({mark!r}, "w").write("ended")))
end_with_parent(os.environ)
print("begins", flush=True)
while True:
    signal.pause()
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], env=dict(os.environ, {variable}=str(os.getpid())))
time.sleep(3600)
"""


def test_a_service_ends_in_order_when_its_supervisor_is_killed(tmp_path: Path):
    mark = tmp_path / "mark"
    child = CHILD.format(mark=str(mark))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(child=child, variable=PARENT_VARIABLE)],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"begins\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 240
        while not mark.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert mark.exists()
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()


def test_our_own_commands_do_not_import_what_lies_in_the_current_folder(tmp_path: Path):
    (tmp_path / "typer.py").write_text("raise SystemExit('this is not the library')\n", encoding="utf-8")
    told = subprocess.run(
        own_command("--version"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("crypto-tracker ")
