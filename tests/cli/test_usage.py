"""What is wrong with a command line is said in one form, with a hint that leads on."""

from __future__ import annotations

import pytest

from sevbuild.cli import VERBS
from tests.support.cli import run
from tests.support.shared import ROOT

HELLO = str(ROOT / "guests" / "hello" / "guest.toml")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["mesure", "x"], "unknown verb 'mesure'", "did you mean measure?"),
        (["zzz"], "unknown verb 'zzz'", "`sevbuild --help` lists the verbs"),
        (["cache", "lst"], "unknown verb 'lst'", "did you mean list?"),
        (["--nope"], "no such option: --nope", "`sevbuild -h`"),
        (["inspect"], "missing FILE", "`sevbuild inspect -h`"),
        (["build", HELLO], "missing --output DIR", "`sevbuild build -h`"),
        (["merge"], "missing OLD... NEW", "`sevbuild merge -h`"),
        (["measure", HELLO, "--lnit"], "no such option: --lnit", "did you mean --lint?"),
        (["measure", HELLO, "--qxz"], "no such option: --qxz", "`sevbuild measure -h`"),
        (["measure", "--ovmf", "x"], "no such option: --ovmf", "it is a key of the manifest: --set firmware.path=FILE"),
        (["measure", "--ovmf=x"], "no such option: --ovmf", "--set firmware.path=FILE"),
        (["measure", "--append", "x"], "no such option: --append", "--set kernel.cmdline=TEXT"),
        (["measure", "-append", "x"], "no such option: -append", "--set kernel.cmdline=TEXT"),
        (["measure", "--vcpu-type", "x"], "no such option: --vcpu-type", "--set vcpu.model=NAME"),
        (["plan", "--kernel", "x"], "no such option: --kernel", "sevbuild import -- COMMAND"),
        (["publish", "--mode", "x"], "no such option: --mode", "--set launch.mode=snp"),
        # A verb that has no --set is not told of it.
        (["schema", "--append", "x"], "no such option: --append", "`sevbuild schema -h`"),
        (["recompute", "--append", "x"], "no such option: --append", "it is --cmdline here"),
        (["measure", "--json"], "no such option: --json", "it is --format json"),
        (["build", "--out", "x"], "no such option: --out", "it is --output"),
        (["measure", HELLO, "--expect"], "--expect: its value is missing", "`sevbuild measure -h`"),
        (["measure", HELLO, "--vcpus", "two"], "--vcpus: 'two' is not a whole number", "`sevbuild measure -h`"),
        (["verify", "a", "b"], "unexpected argument: 'b'", "`sevbuild verify a --against b`"),
        (["verify", "a", "b"], "unexpected argument: 'b'", "`sevbuild diff`"),
        (["measure", HELLO, "b"], "unexpected argument: 'b'", "`sevbuild measure -h`"),
        (["cache", "list", "b"], "unexpected argument: 'b'", "`sevbuild cache list -h`"),
    ],
)  # fmt: skip
def test_mistakes_lead_on(words: list[str], message: str, hint: str) -> None:
    result = run(*words)
    assert (result.status, result.out) == (2, "")
    first, second = result.err.splitlines()
    assert first.startswith(f"error: {message}")
    assert second.startswith("  hint: ")
    assert hint in second


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("verify", "FILE..."),
        ("inspect", "FILE"),
        ("merge", "OLD... NEW"),
        ("diff", "OLD [NEW]"),
        ("measure", "[MANIFEST]"),
    ],
)
def test_usage_is_written_as_people_write_it(verb: str, words: str) -> None:
    assert run("help", verb).out.splitlines()[0] == f"Usage: sevbuild {verb} [OPTIONS] {words}"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_no_help_has_brackets_that_mean_nothing(verb: str) -> None:
    text = run("help", verb).out
    assert not set("{}") & set(text)
    assert "default: (" not in text


def test_help_of_help_is_the_help() -> None:
    assert run("help", "help") == run("help") == run("--help")


def test_a_verb_without_words_shows_its_help() -> None:
    for words in ([], ["cache"]):
        result = run(*words)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith("Usage: sevbuild ")
