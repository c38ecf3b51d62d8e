"""Rules of the mode and of the order of a launch."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.diagnose.change import Change, Edit, Start
from sevbuild.diagnose.departures import ORDER as ORDER_DEPARTURE
from sevbuild.diagnose.rules.applying import departing, natural_order, on_laid_out
from sevbuild.diagnose.rules.weights import MODE, ORDER
from sevbuild.diagnose.setup import LaidOut
from sevbuild.documents.toml_text import toml_string
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.vcpu.save_area import SEV_FEATURE_BITS

__all__ = ["mode_changes", "order_changes"]

_MODE = "github.com/AMDESE/AMDSEV issue 212: the SEV flow for an SNP guest; virtee/sev-snp-measure issue 6"
_ORDER = "the proposal of 2019: data by ascending GPA, then VMSAs by vCPU number, as IGVM files have them"

_SNP = 1 << SEV_FEATURE_BITS["snp-active"]


def mode_changes(start: Start) -> Iterator[Change]:
    """Yield a change to each other mode, with the policy and the SEV_FEATURES that it has by default.

    SEV_FEATURES that are not those the start's mode has by default stay.
    """
    setup = start.setup
    if not isinstance(setup, LaidOut):
        return
    for mode in MODES:
        if mode != setup.mode:
            yield _mode_change(setup, mode)


def _mode_change(start: LaidOut, mode: Mode) -> Change:
    of_profile = start.profile.rules.features
    own = of_profile.get(start.mode, 0)
    default = of_profile.get(mode, _SNP if mode == "snp" else 0)
    takes_default = start.shape.guest_features == own or start.mode == "sev"

    def change(setup: LaidOut) -> LaidOut:
        features = setup.shape.guest_features
        if takes_default and features == start.shape.guest_features:
            features = default
        policy = DEFAULT_POLICIES[mode]
        return setup._replace(shape=setup.shape._replace(mode=mode, policy=policy, guest_features=features))

    edits = [Edit("launch.mode", toml_string(mode)), Edit("launch.policy", None)]
    if takes_default or mode == "sev":
        edits.append(Edit("launch.guest-features", None))
    says, weight = f"the mode {mode}", MODE + MODES.index(mode)
    return Change("mode", mode, "both", on_laid_out(change), says, _MODE, weight, tuple(edits))


def order_changes(start: Start) -> Iterator[Change]:
    """Yield the change to canonical order, or from it to the profile's own."""
    setup = start.setup
    if not isinstance(setup, LaidOut):
        return
    if setup.shape.order == "profile":
        value, says = "canonical", "data sorted by GPA (canonical order)"
    elif natural_order(setup.profile) == "profile":
        value, says = "profile", "data in the order of its profile"
    else:
        return
    edits = (Edit("launch.order", toml_string(value)),)
    apply = departing({ORDER_DEPARTURE: value})
    yield Change("order", value, "body", apply, says, _ORDER, ORDER, edits)
