"""What cannot be made of a value is a fault of its document."""

from __future__ import annotations

import pytest

from sevbuild.documents.document import Document
from sevbuild.errors import Fault, FaultsError, SevbuildError


def _refuse(error: Exception, *, really: bool) -> int:
    if really:
        raise error
    return 1


def test_an_error_becomes_a_fault_with_its_hint() -> None:
    document = Document("guest.toml", "[vcpu]\ncount = 3\n")
    refused = SevbuildError("is too much", hint="take less")
    assert document.attempt("vcpu.count", _refuse, refused, really=False) == 1
    assert document.faults == []
    assert document.attempt("vcpu.count", _refuse, refused, really=True) is None
    assert document.faults == [Fault("guest.toml", 2, "vcpu.count", "is too much", "take less")]


@pytest.mark.parametrize(
    "error", [FaultsError([Fault("own.toml", 7, "name", "is missing")]), ValueError("bug")]
)
def test_faults_of_another_document_and_bugs_pass(error: Exception) -> None:
    document = Document("guest.toml", "")
    with pytest.raises(type(error)) as caught:
        document.attempt("launch.profile", _refuse, error, really=True)
    assert caught.value is error
    assert document.faults == []
