"""The script of every page: it copies digests, filters targets and opens what a link points to."""

from __future__ import annotations

__all__ = ["SCRIPT", "SCRIPT_HASH"]

SCRIPT = """"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const said = document.getElementById("said");

  for (const code of all("code.copy")) {
    const button = document.createElement("button");
    const row = code.closest("[data-label]");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", row ? `Copy the launch digest of ${row.dataset.label}` : "Copy the digest");
    code.after(" ", button);
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    const code = button && button.previousElementSibling;
    if (!code) return;
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      const selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
    said.textContent = copied ? `Copied ${code.textContent}` : "It is selected: copy it with the keyboard";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  const tool = document.getElementById("tool");
  if (tool) {
    const facts = (group) => group.querySelector("summary, p").textContent;
    const rows = all("[data-label]").map((row) => ({
      row,
      group: row.closest(".group"),
      parts: row.dataset.label.toLowerCase().split("/"),
      text: [row.dataset.label, row.querySelector("code").textContent, facts(row.closest(".group"))].join(" ").toLowerCase(),
    }));
    const groups = all(".group");
    const known = new Set(rows.flatMap((entry) => entry.parts));
    const input = tool.querySelector("input");
    const count = document.getElementById("count");
    const opened = new Set();
    const filter = () => {
      const words = input.value.toLowerCase().split(/\\s+/).filter(Boolean);
      const found = rows.filter(({ parts, text }) =>
        words.every((word) => known.has(word) ? parts.includes(word) : text.includes(word)));
      const shown = new Set(found);
      const groupsShown = new Set(found.map((entry) => entry.group));
      for (const entry of rows) entry.row.hidden = !shown.has(entry);
      for (const group of groups) {
        group.hidden = !groupsShown.has(group);
        if (group.tagName !== "DETAILS") continue;
        const open = words.length > 0 && found.length <= 500 && groupsShown.has(group);
        if (open && !group.open) { group.open = true; opened.add(group); }
        if (!open && opened.delete(group)) group.open = false;
      }
      count.textContent = words.length ? `${found.length} of ${rows.length} targets` : `${rows.length} targets`;
    };
    tool.hidden = false;
    input.addEventListener("input", filter);
    filter();
  }

  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
"""

SCRIPT_HASH = "sha256-+1fA31bLkiZZz44jE2pk271czhu+8R9OYM5/hOIA2Xw="
"""What the page's policy allows as a script: this one, and no other (CSP 3 section 2.3.1)."""
