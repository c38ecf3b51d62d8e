"""The frame of every page: one file, which asks for nothing and lets nothing in it act."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from sevbuild.picture.digests import Digest, DigestGroup, digest_groups
from sevbuild.picture.markup import escape, facts
from sevbuild.picture.page import page
from sevbuild.picture.script import SCRIPT, SCRIPT_HASH
from sevbuild.picture.style import STYLE, STYLE_HASH
from tests.picture.support import NASTY, Parsed


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    """The room of pictures computes no digest, so both stand there as they were computed once."""
    assert _hash(SCRIPT) == SCRIPT_HASH
    assert _hash(STYLE) == STYLE_HASH
    text = page("a title", "")
    (policy,) = [meta["content"] for meta in Parsed(text).all("meta") if "http-equiv" in meta]
    assert policy == (
        f"default-src 'none'; style-src '{STYLE_HASH}'; script-src '{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"
    )
    # What stands before the policy is not held to it.
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script>")


def test_nothing_but_the_script_acts_and_nothing_is_asked_for() -> None:
    parsed = Parsed(page(NASTY, facts([(NASTY, NASTY)])))
    assert parsed.raw == {"style": [STYLE], "script": [SCRIPT]}
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") or name in ("style", "src") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert "http" not in SCRIPT


def test_a_name_is_text() -> None:
    assert escape("<b>\n&\"'") == "&lt;b&gt;\\n&amp;&quot;&#x27;"
    assert Parsed(f"<p>{escape(NASTY)}</p>").text == NASTY.replace("\x1b", r"\x1b").replace(
        "\u202e", r"\u202e"
    )


def test_few_targets_have_no_filter() -> None:
    rows = [Digest(f"{count} vCPUs", "ab" * 48, f"snp/qemu/CPU/vcpus{count}") for count in (2, 3, 4, 5)]
    group = DigestGroup("a title", "policy 0x30000", rows)
    assert 'id="filter"' in digest_groups([group], folded=False)
    few = digest_groups([group._replace(rows=rows[:3])], folded=True)
    assert 'id="filter"' not in few
    assert few.startswith(
        '<details class="group"><summary><b>a title</b>: 3 targets, policy 0x30000</summary>'
    )
