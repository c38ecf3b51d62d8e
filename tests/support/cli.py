"""Run the command line in this process."""

from __future__ import annotations

import gc
import io
import sys
from typing import NamedTuple

import pytest

from sevbuild.cli import main

__all__ = ["Result", "run"]


class Result(NamedTuple):
    """Hold exit status, standard output and standard error of one command."""

    status: int
    out: str
    err: str


def run(*arguments: str | object, stdin: str = "") -> Result:
    """Run `sevbuild` with these arguments and return how it ended."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    gc.enable()
    return Result(int(ended.value.code or 0), out.getvalue(), err.getvalue())
