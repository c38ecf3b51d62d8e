"""`go-sev-guest`: the configuration of `check` (google/go-sev-guest 0.15.0, proto/check.proto) as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sevbuild.attest.appraisal import DEFAULT_MAXIMUM_POLICY
from sevbuild.attest.platform_info import PLATFORM_INFO_BITS
from sevbuild.attest.product import Product, Tcb, product_named
from sevbuild.errors import SevbuildError, within
from sevbuild.launch.policy import SNP_READABLE
from sevbuild.reference.accepted import Accepted
from sevbuild.reference.export.interface import Exporter, ExportOptions
from sevbuild.reference.export.unsaid import unsaid_warning
from sevbuild.text import visible

if TYPE_CHECKING:
    from sevbuild.attest.appraisal import AppraisalPolicy
    from sevbuild.reference.model import ReferenceValues, Value

__all__ = ["EXPORTER"]

Item = TypeVar("Item")

_LINES = ("Milan", "Genoa")
"""The product lines whose reports it takes: it reads every TCB in their layout, and refuses Turin's
certificates, and the CPUID model of Siena and Bergamo."""

# validate.go, validatePlatformInfo: these bits it may allow, the others it may demand.
_ALLOWED_BITS = ("smt", "tsme", "tio")
_DEMANDED_BITS = ("ecc", "rapl-dis", "ciphertext-hiding-dram", "alias-check-complete")


class GoSevGuest(Exporter):
    """A root of trust without network, and a policy of one launch digest."""

    name = "go-sev-guest"
    summary = "the configuration of go-sev-guest's check, for one target"
    files = ("go-sev-guest.textproto",)
    appraises = True

    def missing(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return the product line where neither an option nor the appraisal policy says it."""
        return [] if len(options.appraisal.products) == 1 else super().missing(values, options)

    def notes(self, values: ReferenceValues, options: ExportOptions) -> list[str]:
        """Return how the tool is run, and what it holds otherwise."""
        command = "check -in REPORT -config go-sev-guest.textproto -network=false"
        return [
            *super().notes(values, options),
            f"{command}, where REPORT is report and certificate table; all is held to this machine's time",
            "the guest policy is the most that is permitted there, and its ABI the least",
        ]

    def warnings(self, _values: ReferenceValues, options: ExportOptions, /) -> list[str]:
        """Return what of the appraisal policy the tool does not look at."""
        policy = options.appraisal
        found = unsaid_warning(policy, _SAID, "check")
        required = [bit for bit in policy.platform_required if bit not in _DEMANDED_BITS]
        forbidden = [bit for bit in policy.platform_forbidden if bit not in _ALLOWED_BITS]
        if required or forbidden:
            found.append(
                f"check does not hold these bits of PLATFORM_INFO: {', '.join(required + forbidden)}"
            )
        if policy.id_keys and policy.author_keys:
            found.append("check takes a trusted author key for enough, whatever the ID key is")
        return found

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `go-sev-guest.textproto`.

        Raises SevbuildError where several values are accepted of what the tool takes one of.
        """
        policy = options.appraisal
        value = _one_value(values, policy)
        line = _product_line(options)
        fields = [
            f"policy: {_guest_policy(policy, value)}",
            f'measurement: "{_escaped(_digest(policy, value))}"',
            f"vmpl {{ value: {_only('guest.vmpl', policy.vmpls)} }}",
            *_bytes_fields(policy, value),
            *_platform_fields(policy, line),
            *_key_fields(policy, value),
        ]
        lines = [
            "# proto-file: github.com/google/go-sev-guest/proto/check.proto",
            "# proto-message: check.Config",
            f"# {visible(values.title())}{f', {visible(value.label)}' if value is not None else ''}",
            "root_of_trust {",
            f'  product_line: "{line.name}"',
            "  disallow_network: true",
            "}",
            "policy {",
            *(f"  {field}" for field in fields),
            "}",
        ]
        return {
            "go-sev-guest.textproto": "".join(f"{line}\n" for line in lines).encode(
                "utf-8", "backslashreplace"
            )
        }


_SAID = frozenset(
    {
        "measurements",
        "policy",
        "maximum_policy",
        "host_data",
        "report_data",
        "family_ids",
        "image_ids",
        "guest_svn",
        "id_keys",
        "author_keys",
        "products",
        "platform_required",
        "platform_forbidden",
        "chip_ids",
        "firmware_version",
        "minimum_tcb",
        "minimum_launch_tcb",
    }
)


def _one_value(values: ReferenceValues, policy: AppraisalPolicy) -> Value | None:
    """Return the one value that is accepted, None where a digest without a name is."""
    launches = {
        (value.digest, value.policy, value.id_block): value
        for value in Accepted(values, policy.published).snp_values()
    }
    digests = {digest for digest, *_ in launches}
    others = [digest for digest in policy.measurements if digest not in digests]
    if len(launches) + len(others) == 1:
        return next(iter(launches.values()), None)
    count = len(launches) + len(others)
    message = f"go-sev-guest: its check takes one launch digest, and {count or 'no'} targets are accepted"
    raise SevbuildError(message, hint="--target takes one of them")


def _digest(policy: AppraisalPolicy, value: Value | None) -> bytes:
    return policy.measurements[0] if value is None else value.digest


def _guest_policy(policy: AppraisalPolicy, value: Value | None) -> str:
    bound = policy.maximum_policy if policy.policy is None else policy.policy
    if bound is None:
        # As our own verdict: neither debugging nor migration in silence, whatever the target's policy is.
        bound = DEFAULT_MAXIMUM_POLICY if value is None else value.policy & ~SNP_READABLE
    return f"{bound:#x}"


def _product_line(options: ExportOptions) -> Product:
    """Return the product line that is given, else that of the appraisal policy; raises SevbuildError."""
    name = options.extra.get("product-line") or options.appraisal.products[0]
    with within(options.flag("product-line", name)):
        product = product_named(name)
    if product.name not in _LINES:
        raise SevbuildError(f"go-sev-guest: release 0.15.0 does not verify reports of {product.name}")
    return product


def _bytes_fields(policy: AppraisalPolicy, value: Value | None) -> list[str]:
    block = None if value is None else value.id_block
    fields = {
        "report_data": _only("guest.report-data", policy.report_data),
        "host_data": _only("guest.host-data", policy.host_data),
        "family_id": _only("guest.family-id", policy.family_ids) or (block.family_id if block else None),
        "image_id": _only("guest.image-id", policy.image_ids) or (block.image_id if block else None),
        "chip_id": _only("platform.chip-id", policy.chip_ids),
    }
    return [f'{name}: "{_escaped(data)}"' for name, data in fields.items() if data]


def _platform_fields(policy: AppraisalPolicy, product: Product) -> list[str]:
    found = []
    for name, minima in (
        ("minimum_tcb", policy.minimum_tcb),
        ("minimum_launch_tcb", policy.minimum_launch_tcb),
    ):
        if minima and product.name not in minima:
            key = name.replace("_", "-")
            raise SevbuildError(
                f"go-sev-guest: [{key}] has nothing for {product.name}, so every report is refused"
            )
        if minima:
            found.append(f"{name}: {_tcb_version(product, minima[product.name]):#x}")
    if policy.firmware_version is not None:
        major, minor, build = policy.firmware_version
        found += [f'minimum_version: "{major}.{minor}"', f"minimum_build: {build}"]
    if policy.platform_required or policy.platform_forbidden:
        bits = [name for name in _ALLOWED_BITS if name not in policy.platform_forbidden]
        bits += [name for name in _DEMANDED_BITS if name in policy.platform_required]
        info = sum(1 << PLATFORM_INFO_BITS[name] for name in bits)
        found.append(f"platform_info {{ value: {info:#x} }}")
    return found + (["permit_provisional_firmware: true"] if policy.provisional_firmware else [])


def _tcb_version(product: Product, tcb: Tcb) -> int:
    return sum((getattr(tcb, part) or 0) << 8 * at for part, at in product.parts)


def _key_fields(policy: AppraisalPolicy, value: Value | None) -> list[str]:
    block = None if value is None else value.id_block
    svns = [svn for svn in (policy.guest_svn, block.guest_svn if block else None) if svn is not None]
    keys = policy.id_keys or ((block.id_key_digest,) if block else ())
    author = block.author_key_digest if block else None
    authors = policy.author_keys or ((author,) if author else ())
    found = [f"minimum_guest_svn: {max(svns)}"] if svns else []
    found += ["require_id_block: true"] if keys else []
    found += ["require_author_key: true"] if authors else []
    found += [f'trusted_id_key_hashes: "{_escaped(key)}"' for key in keys]
    return found + [f'trusted_author_key_hashes: "{_escaped(key)}"' for key in authors]


def _only(key: str, values: tuple[Item, ...]) -> Item | None:
    """Return the one value of a key, None for none; raises SevbuildError for several."""
    if len(values) > 1:
        raise SevbuildError(f"go-sev-guest: check takes one {key}, and {len(values)} are accepted")
    return values[0] if values else None


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


EXPORTER = GoSevGuest()
