"""A cache folder of the test's own, and no waiting between attempts."""

from __future__ import annotations

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PHDYN_DATA_DIR", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("phdyn.data.download.PAUSE", 0.0)
    return folder
