"""The one inline style that the page may have: the attribution logo that the chart library adds by itself."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from crypto_tracker.desk.web.gate import CHARTS_STYLE, CONTENT_SECURITY_POLICY

LIBRARY = Path(__file__).parents[2] / "web" / "node_modules" / "lightweight-charts" / "dist"


def test_the_policy_allows_the_style_of_the_installed_library_and_no_other() -> None:
    source = LIBRARY / "lightweight-charts.production.mjs"
    if not source.is_file():
        pytest.skip("the page's modules are not installed: python web/build.py")
    styles = re.findall(r'createElement\("style"\),this\.\w+\.innerText="([^"]*)"', source.read_text())
    assert len(styles) == 1, "the library inserts other styles than the one that the policy knows"
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" == CHARTS_STYLE


def test_the_policy_forbids_every_other_inline_style_and_script() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.count("sha256-") == 1
    assert f"style-src 'self' {CHARTS_STYLE};" in CONTENT_SECURITY_POLICY
