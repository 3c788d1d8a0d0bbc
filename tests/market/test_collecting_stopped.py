"""A collector whose process stands still for minutes: nobody is told what nobody watched."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.market.stopped_child import SECONDS, STOP_MINUTES

ROOT = Path(__file__).parents[2]


def test_a_process_that_stood_still_for_two_minutes_fetches_them_and_deceives_nobody(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.market.stopped_child", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    try:
        assert json.loads(child.stdout.readline()) == {"now": "stop me"}
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(STOP_MINUTES * SECONDS)
        os.kill(child.pid, signal.SIGCONT)
        found = json.loads(child.communicate(timeout=240)[0])
    finally:
        child.kill()
        child.wait()
    assert found["deceptions"] == found["differences"] == []
    assert any("this process stood still for" in note for note in found["notes"])
    assert found["figures"]["catch_ups"] >= 1
    assert found["figures"]["late"] == 0
