"""Where data came from: said in a file or on the line, signed, and shown by `verify`."""

from __future__ import annotations

import json

import pytest

import guards
from guards.cli import main
from guards.digest import Digest
from guards.errors import UsageError
from guards.publish import beside

ARCHIVE = Digest.of(b"the archive that was downloaded")


def test_a_source_with_its_digest_and_time_is_signed_and_shown(spine, keys, capsys):
    beside(spine.batch, ".dataset.toml").write_text(
        "[[source]]\n"
        'uri = "https://example.org/flights.zip"\n'
        "retrieved = 2026-02-01T00:00:00Z\n"
        f'digest = "{ARCHIVE}"\n'
        'license = "CC0"\n'
    )
    guards.sign(spine.batch, key=keys.pem("producer"), name="acme/flights/2013-01", version=5)
    line = ["verify", str(spine.batch), "--trust", str(spine.trust_dir), "--format", "json"]
    assert main([*line, "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sources"] == [
        {
            "uri": "https://example.org/flights.zip",
            "retrieved": "2026-02-01T00:00:00Z",
            "license": "CC0",
            "digest": str(ARCHIVE),
            "claim": "",
        }
    ]
    assert told["rows"] > 0
    assert Digest.parse(told["schema"])


@pytest.mark.parametrize(
    "digest", ["md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + "A" * 64, "0" * 63, ""]
)
def test_a_weak_or_malformed_digest_is_refused(spine, keys, digest):
    """Attack 12: only a whole sha256 in lower case is a digest."""
    beside(spine.batch, ".dataset.toml").write_text(
        f'[[source]]\nuri = "https://example.org/x"\ndigest = "{digest}"\n'
    )
    with pytest.raises(UsageError, match="sha256"):
        guards.sign(spine.batch, key=keys.pem("producer"), name="acme/flights/2013-01", version=5)


@pytest.mark.parametrize(
    "uri",
    [
        "https://me:pw-abc@example.org/x",
        "https://example.org/x?X-Amz-Signature=pw-abc",
        "s3://bucket/x?sig=pw-abc",
        "https://example.org/x?a=1&access_token=pw-abc",
    ],
)
def test_a_source_with_credentials_is_not_claimed(spine, keys, uri):
    """Attack 22: a claim is read by everybody."""
    with pytest.raises(UsageError, match="holds credentials") as refused:
        guards.sign(
            spine.batch, key=keys.pem("producer"), name="acme/flights/x", version=9, sources=(uri,)
        )
    assert "pw-abc" not in str(refused.value)
