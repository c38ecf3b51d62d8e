"""`rvps`: Trustee's Reference Value Provider Service (confidential-containers/trustee, 78962cd)."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from sevbuild.errors import SevbuildError
from sevbuild.launch.policy import SNP_POLICY_BITS, SnpPolicy
from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import ordered_json, unique
from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["EXPORTER"]

_MESSAGE_VERSION = "0.1.0"
_DEFAULT_NAME = "snp_launch_measurement"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")
_EXAMPLE = "2027-01-01T00:00:00Z"
_CONFIG_MAP_KEYS = ("config-map", "namespace")
_DNS_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")

HOST_NAMES = (
    "snp_bootloader",
    "snp_microcode",
    "snp_snp_svn",
    "snp_tee_svn",
    "snp_smt_enabled",
    "snp_tsme_enabled",
)
"""What Trustee's default policy (ear_default_policy_cpu.rego) queries of the host; no guest has them."""


class Rvps(Exporter):
    """A `sample` message, its bare payload and, with an expiration, the operator's ConfigMap."""

    name = "rvps"
    summary = "Trustee RVPS: sample message, payload, ConfigMap"
    files = ("rvps-message.json", "rvps-payload.json", "rvps-configmap.yaml")

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return which names of Trustee's default policy stay unset, and what that leads to."""
        found = super().notes(values, options)
        taken = values_of(values, self.modes)
        unset = [*(name for name, value in _policy_values(taken).items() if value is None), *HOST_NAMES]
        found.append(
            f"leaves to the operator: {', '.join(unset)}; without them Trustee's default policy ends at "
            "executables 3, configuration 3"
        )
        if any(value.policy >> SNP_POLICY_BITS["debug"] & 1 for value in taken):
            found.append("a target's policy allows debugging, which Trustee's default policy refuses")
        if "expiration" not in options.extra:
            found.append(f"no ConfigMap without an expiration ({options.flag('expiration', _EXAMPLE)})")
        return found

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `rvps-message.json`, `rvps-payload.json` and `rvps-configmap.yaml`."""
        extra = options.extra
        name = extra.get("name", _DEFAULT_NAME)
        if not set(name) <= _NAME_CHARACTERS or name[0] in "./":
            hint = "letters, digits and -_./, not starting with . or /"
            raise SevbuildError(f"rvps: {name!r} is not the name of a reference value", hint=hint)
        taken = values_of(values, self.modes)
        payload: dict[str, object] = {name: unique(value.digest.hex() for value in taken)}
        determined = {key: value for key, value in _policy_values(taken).items() if value is not None}
        payload |= {key: value for key, value in determined.items() if key != name}
        bare = ordered_json(payload)
        message = {"version": _MESSAGE_VERSION, "type": "sample", "payload": b64encode(bare).decode()}
        files = {"rvps-message.json": ordered_json(message), "rvps-payload.json": bare}
        if "expiration" in extra:
            files["rvps-configmap.yaml"] = _config_map(payload, extra)
        elif given := [key for key in _CONFIG_MAP_KEYS if key in extra]:
            hint = f"such as {options.flag('expiration', _EXAMPLE)}; no clock is read"
            raise SevbuildError(f"rvps: {given[0]} is of a ConfigMap, which needs expiration", hint=hint)
        return files


def _policy_values(values: Sequence[Value]) -> dict[str, int | bool | None]:
    """Return what the guests' policies determine, None where two targets differ.

    Trustee compares each with a single value, so one that differs cannot be said.
    """
    policies = {value.policy for value in values}
    rows = [
        {
            "snp_guest_abi_major": SnpPolicy(policy).abi[0],
            "snp_guest_abi_minor": SnpPolicy(policy).abi[1],
            "snp_single_socket": bool(policy >> SNP_POLICY_BITS["single-socket"] & 1),
            "snp_smt_allowed": bool(policy >> SNP_POLICY_BITS["smt"] & 1),
        }
        for policy in sorted(policies)
    ]
    return {key: rows[0][key] if all(row[key] == rows[0][key] for row in rows) else None for key in rows[0]}


def _config_map(payload: Mapping[str, object], extra: Mapping[str, Any]) -> bytes:
    """Return the operator's ConfigMap: a JSON object of base64 values in a YAML block."""
    expiration = extra["expiration"]
    if not _is_time(expiration):
        raise SevbuildError(f"rvps: {expiration!r} is not an expiration", hint=f"write it as {_EXAMPLE}")
    names = [
        extra.get("config-map", "rvps-reference-values"),
        extra.get("namespace", "trustee-operator-system"),
    ]
    for word in names:
        if not set(word) <= _DNS_CHARACTERS:
            raise SevbuildError(
                f"rvps: {word!r} is not a name in Kubernetes", hint="lower case, digits, - and ."
            )
    stored = {
        name: b64encode(
            json.dumps(
                {"name": name, "expiration": expiration, "value": value},
                separators=(",", ":"),
            ).encode()
        ).decode()
        for name, value in payload.items()
    }
    block = "".join(f"    {line}\n" for line in json.dumps(stored, indent=2).splitlines())
    head = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n"
        f"  name: {json.dumps(names[0])}\n  namespace: {json.dumps(names[1])}\ndata:\n  reference_value: |\n"
    )
    return (head + block).encode()


def _is_time(text: str) -> bool:
    """Tell whether text is a UTC time of RFC 3339 to the second, on a day that exists."""
    from datetime import datetime

    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").isoformat() == text.replace("Z", "+00:00") and (
            text.endswith("Z")
        )
    except ValueError:
        return False


EXPORTER = Rvps()
