"""What holds for every test: generated examples are the same in every run.

A failure on one machine is then a failure on all. `SEVBUILD_EXPLORE=1 make test` draws new examples.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("explore" if os.environ.get("SEVBUILD_EXPLORE") == "1" else "same")
