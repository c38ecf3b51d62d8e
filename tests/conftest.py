"""What holds for every test: generated examples are the same in every run, and nothing waits for a device.

A failure on one machine is then a failure on all. `SEVBUILD_EXPLORE=1 make test` draws new examples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.device import no_waiting_for_the_device

if TYPE_CHECKING:
    from tests.support.https import Server

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("SEVBUILD_EXPLORE") == "1" else "same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="skip what is marked slow, and say how much that is"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests in a quick run: what is skipped is counted, what is deselected is not."""
    if not config.getoption("--quick"):
        return
    for item in items:
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.skip(reason="slow: left out by make quick, run by make test"))


@pytest.fixture(scope="session", autouse=True)
def _device() -> Iterator[None]:
    with no_waiting_for_the_device():
        yield


@pytest.fixture(scope="module")
def https_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run one server on loopback for a module; `Server.renew` makes it as new for a test."""
    from tests.support.https import Server

    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()
