"""Run every mismatch case through `sevbuild explain`, and record where its cause came, for docs/explain.md.

Names of cases, or parts of them, run these alone and record nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import process_time

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.diagnose.cases.all_cases import CASES
from tests.diagnose.cases.judge import RECORD, Verdict, judged
from tests.diagnose.cases.world import World


def main() -> None:
    """Judge the cases, print what is not as it should be, and write the record."""
    asked = sys.argv[1:]
    chosen = [case for case in CASES if not asked or any(word in case.name for word in asked)]
    verdicts: dict[str, Verdict] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        for case in chosen:
            begin = process_time()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    verdicts[case.name] = judged(case, world, Path(folder))
                except BaseException as error:  # a skip is no answer either
                    failed += 1
                    print(f"MISS  {case.name}: {type(error).__name__}: {str(error)[:600]}")
                    continue
            seconds = process_time() - begin
            if asked or seconds > 2 or verdicts[case.name].rank > 1:
                print(f"      {case.name}: {verdicts[case.name]}, {seconds:.1f} s")
    print(f"{len(chosen)} cases, {failed} missed")
    if not asked:
        RECORD.write_text(json.dumps(verdicts, indent=1) + "\n")
    sys.exit(min(failed, 1))


if __name__ == "__main__":
    main()
