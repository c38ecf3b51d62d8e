"""Write docs/manifest.md and docs/appraisal.md from their JSON Schemas, docs/profiles.md from the profiles.

In docs/explain.md the table of cases is written, from what tools/explain_cases.py recorded.

`--check` compares instead, and exits 1 naming what is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sevbuild.attest.appraisal_schema import appraisal_schema
from sevbuild.attest.check_names import CHECKS
from sevbuild.cli.tables import markdown_table
from sevbuild.manifest.catalog import profile_document, profiles_document
from sevbuild.manifest.schema import manifest_schema

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

MANIFEST_HEAD = """# The manifest

<!-- generated from the JSON Schema by `make docs` -->

A manifest is a TOML file that declares one guest: what it is made of, and how it is launched. Paths are
relative to the manifest and opened as they are written: `$` is a character, `link/..` leads where the operating
system says, and a path that begins with `~` is an error. Unknown keys are errors. `sevbuild schema` prints the
schema for editors, `sevbuild check` finds everything that is wrong with a manifest and its inputs at once.

```toml
{example}```
"""

MANIFEST_TAIL = """
## The matrix

Wherever a list is allowed, every combination is a target: mode x profile x CPU x vCPU count x command
line, in that order, vCPU counts ascending. A target's label is `mode/profile/CPU/vcpusN`, with the name
of the command line variant as a fifth part where there are several. A combination that its profile cannot
launch is an error. Whatever is not a plain product goes into `[[matrix]]` tables, each laid over the tables above.

## Values that the manifest does not give

| key | taken from |
| --- | --- |
| `launch.policy` | the mode: SEV `0x1`, SEV-ES `0x5`, SNP `0x30000` |
| `launch.guest-features` | the profile |
| `launch.order` | `profile` |
| `kernel.hashes` | `true` |

Every output says which values it took, and from where.

## Overriding keys

`--set PATH=VALUE` overrides a key by its path, `--set vcpu.count=8`. Where there is a `[[matrix]]`, it does so in
every entry, `--set matrix[1].vcpu.count=8` in the second alone. Where a string is wanted, VALUE is the text as it
was typed: `--set variables.x=0x10` gives `0x10`, not 16. Only quotes around the whole of it are taken off, as TOML
has them: `--set 'kernel.cmdline="quiet"'`. Where anything else is wanted, VALUE is TOML, such as `8`, `0x30000`,
`[1, 2]`, `true` or `{ debug = true }`. `@FILE` stands for the text of a file, less one newline at its end.
"""

APPRAISAL_HEAD = """# The appraisal policy

<!-- generated from the JSON Schema by `make docs` -->

An appraisal policy (RFC 9334) is a TOML file that says what a relying party accepts of an attestation report. It is
another thing than the guest policy, the 64 bits that a guest is launched with, which is just one of the things it looks
at. [verifying.md](verifying.md) says how a report becomes a verdict.

```sh
sevbuild appraisal init reference-values.json
sevbuild verify report.bin --against reference-values.json --appraisal appraisal.toml
```

`appraisal init` writes a commented start from what was published. `sevbuild schema --of appraisal` prints the schema
for editors. Unknown keys are errors, and all that is wrong with a file is said at once. Wherever a list is allowed,
each of its values is accepted. Only `schema` must be there:

```toml
schema = 1

[guest]
vmpl = [0, 1]

[platform]
required = "alias-check-complete"
firmware-version = "1.55.40"

[minimum-tcb.Genoa]
boot-loader = 10
tee = 0
snp = 23
microcode = 84

[checks]
require = ["report-data"]
```
"""

APPRAISAL_TAIL = """
## Options beside the file

`--expect HEX` adds to `published.measurement`. `--vmpl`, `--host-data`, `--report-data` and `--report-data-sha512` take
the place of what the file says, and `--strict` and `--allow-unknown-version` of `checks.strict` and
`checks.unknown-versions`.

## The checks

A check passes, fails or is not made. A report is refused where any fails, and where one is not made that is required:
those that the table marks, and those of `checks.require`, less those of `checks.waive`. A report that a VLEK signed
names no chip, and `chip-id` is not required of it.

"""

PROFILES_HEAD = """# Profiles

<!-- generated from sevbuild/profiles/*.toml by `make docs` -->

A profile says how one hypervisor, on hosts of one era, launches a guest: the order of regions, the page
type of each firmware section, the initial registers of every vCPU. It is a TOML file; every departure from
its parent (`extends`) cites a source. A manifest names a profile by name, or one of your own by path:

```toml
schema = 1
name = "my-host"
extends = "qemu"
summary = "QEMU on our hosts, with DebugSwap"
as-of = "2026-11-01"

[guest-features.snp]
default = 0x21
known = 0x21

[sources]
"guest-features.snp" = "read from a report of 2026-10-30"
```

The name is one of your own, `[a-z0-9][a-z0-9._-]*`: no shipped profile has it, and no other of the manifest, for
it stands in labels, and a label must name one launch digest. The values of a shipped profile never change: a new era
of hosts gets a new name.
Where something replays a list of launch updates on your hosts, `launch.list-loader = "its name"` says so: then
`build` and `publish` take guests with `order = "canonical"`. No shipped profile names one; those of IGVM loaders
need none. A register may be a number or one of `vcpu-signature`, `guest-features`, `entry`, `entry-low`, `entry-high`;
registers that are not named start as zero. `known` are the feature bits that hosts can set, `newer` (optional) those
that only hosts after the profile's date can: a manifest that sets one of these is given a note, of any other a
warning. `sevbuild profiles NAME` prints what follows here.
"""


def walk(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, type and description of every key below an object."""
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        kind = type_of(value) + (", required" if key in required else "")
        yield path, kind, value.get("description", "")
        if value.get("properties") and key not in ("policy", "maximum-policy", "guest-features", "matrix"):
            yield from walk(value, f"{path}.")


def type_of(schema: dict[str, Any]) -> str:
    """Return the type of a value in a few words."""
    if "enum" in schema:
        words = schema["enum"]
        return " / ".join(f"`{word}`" for word in words) if len(words) <= 6 else "a name"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(entry) for entry in schema["anyOf"]))
    if schema.get("type") == "array":
        return "list"
    kind = schema.get("type", "")
    return {"object": "table"}.get(kind, kind if isinstance(kind, str) else " or ".join(kind))


def manifest_page() -> str:
    """Return docs/manifest.md."""
    schema = manifest_schema()
    example = (DOCS.parent / "templates" / "init" / "snp.toml").read_text()
    parts = [MANIFEST_HEAD.format(example=example)]
    for name, table in schema["properties"].items():
        if name in ("schema", "matrix"):
            continue
        parts.append(f"\n## `[{name}]`\n\n{table['description']}\n\n")
        rows = [(f"`{path}`", kind, text) for path, kind, text in walk(table)]
        if rows:
            parts.append(markdown_table(("key", "type", "meaning"), rows))
    return "".join(parts) + MANIFEST_TAIL


def appraisal_page() -> str:
    """Return docs/appraisal.md."""
    parts = [APPRAISAL_HEAD]
    for name, table in appraisal_schema()["properties"].items():
        if name != "schema":
            parts.append(f"\n## `[{name}]`\n\n{table['description']}\n\n")
            rows = [(f"`{path}`", kind, text) for path, kind, text in walk(table)]
            parts.append(markdown_table(("key", "type", "meaning"), rows))
    checks = [
        (f"`{name}`", "yes" if kind.required else "", kind.meaning, f"`{kind.claim.replace('-', '_')}`")
        for name, kind in CHECKS.items()
    ]
    parts.append(APPRAISAL_TAIL)
    return "".join([*parts, markdown_table(("check", "required", "a pass says", "claim"), checks)])


def profiles_page() -> str:
    """Return docs/profiles.md."""
    profiles = profiles_document()
    rows = [
        (f"[`{p['name']}`](#{p['name']})", ", ".join(p["modes"]), p["extends"] or "-", p["summary"])
        for p in profiles
    ]
    parts = [PROFILES_HEAD, "\n", markdown_table(("profile", "modes", "extends", "summary"), rows)]
    for entry in profiles:
        document = profile_document(entry["name"])
        parts.append(f"\n## {entry['name']}\n\n{entry['summary']}.\nAs of {entry['as_of']}.\n")
        shown = document["values"]
        if entry["extends"]:
            parts.append(f"Extends `{entry['extends']}`; these values differ from it:\n")
            shown = [value for value in shown if value["differs"]]
        cells = [(f"`{v['path']}`", f"`{text(v['value'])}`", v["source"] or "") for v in shown]
        parts.append("\n" + markdown_table(("key", "value", "source"), cells))
    return "".join(parts)


def explain_page() -> str:
    """Return docs/explain.md, whose prose stays as it is."""
    sys.path.insert(0, str(ROOT))
    from tools.explain_table import with_cases

    return with_cases((DOCS / "explain.md").read_text())


def text(value: Any) -> str:
    """Return a value as TOML spells it, near enough for a table."""
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Write or check the pages."""
    stale = []
    pages = {
        "manifest.md": manifest_page,
        "profiles.md": profiles_page,
        "appraisal.md": appraisal_page,
        "explain.md": explain_page,
    }
    for name, make in pages.items():
        page = make()
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(page)
        elif not path.exists() or path.read_text() != page:
            stale.append(f"docs/{name}")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make docs`")


if __name__ == "__main__":
    main()
