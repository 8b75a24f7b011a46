"""`keygen`: a key pair."""

from __future__ import annotations

import argparse
from pathlib import Path

from guards import console
from guards.commands.options import Commands, Options, command, passphrase_option


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command(commands, "keygen", _run_keygen, "make an Ed25519 key pair")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--type", choices=_kinds_of_key(), default=_kinds_of_key()[0])
    parser.add_argument(
        "--encrypt", action="store_true", help="key.pem under a passphrase; asked for"
    )
    passphrase_option(parser)


def _run_keygen(options: Options) -> int:
    from guards.provenance.signing import generate

    secret = options.encrypt or options.passphrase_env
    passphrase = console.new_passphrase(options.passphrase_env) if secret else None
    public = generate(options.out, options.type, passphrase)
    console.result(
        {
            "keyid": public.keyid,
            "scheme": public.scheme,
            "key": str(options.out / "key.pem"),
        },
        f"key {public.keyid[:16]} in {options.out}; keep key.pem secret, give out key.pub",
        options.format,
    )
    return 0


def _kinds_of_key() -> tuple[str, ...]:
    return ("ed25519", "ecdsa-p256", "ecdsa-p384", "rsa-pss-3072")
