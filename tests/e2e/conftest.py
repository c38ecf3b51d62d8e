"""What these tests boot must be there: only SEVBUILD_E2E=skip, said aloud, passes over them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("SEVBUILD_E2E") != "skip":
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="SEVBUILD_E2E=skip: nothing was booted"))
