"""Where third-party vectors are: beside the checkout, under ../shared/vectors, or $SEVBUILD_VECTORS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["ROOT", "VECTORS", "needs_vectors", "shared_file"]

ROOT = Path(__file__).resolve().parents[2]
VECTORS = Path(os.environ.get("SEVBUILD_VECTORS", ROOT.parent / "shared" / "vectors"))

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"third-party vectors are not at {VECTORS}; set SEVBUILD_VECTORS"
)


def shared_file(name: str) -> Path:
    """Return a vector file, or skip the test saying which one is missing."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"third-party vector {name} is not at {VECTORS}")
    return path
