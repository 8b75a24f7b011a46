"""Let atheris look for bytes at which a parser does something else than read or refuse.

    python tests/fuzzing/fuzz.py TARGET [libFuzzer's options, as -max_total_time=60]

The targets and their seeds are those of `test_parsers.py`; what was found before is kept in
`build/fuzz/TARGET`. Linux only, as atheris is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
with atheris.instrument_imports(include=["guards"]):
    from test_parsers import TARGETS, read_or_refused


def main() -> None:
    """Fuzz one target until the time is up, or something is found."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "--list":
        print(*TARGETS)
        return
    if name not in TARGETS:
        raise SystemExit(f"name one of {', '.join(TARGETS)}")
    corpus = HERE.parents[1] / "build" / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(corpus), *sys.argv[2:]], lambda data: read_or_refused(name, data)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
