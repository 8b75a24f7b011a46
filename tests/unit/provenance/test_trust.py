"""Who may do what: roles, name patterns, expiry; and a directory that is read without guessing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from guards.digest import digest_json
from guards.errors import GuardError, Untrusted, UsageError
from guards.provenance.manifest import UNNAMED, Name, parse_name
from guards.provenance.signing import load_public
from guards.provenance.trust import (
    ROLES,
    Revocation,
    Threshold,
    TrustedKey,
    add,
    create,
    load,
    parse_time,
    require,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def trusted(keys, who="producer", **more):
    given = {"roles": ("producer",), "names": ("acme/*",), **more}
    return TrustedKey(key=load_public(keys.pub(who)), **given)


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("acme/*", "acme/flights", True),
        ("acme/*", "acme/flights/2013-01", True),
        ("acme/flights", "acme/flights/2013-01", True),
        ("acme/flights", "acme/flights2", False),
        ("acme/flights/2013-*", "acme/flights/2013-01", True),
        ("acme/flights/2013-*", "acme/flights", False),
        ("acme/flights/2013-*", "acme/flights/2014-01", False),
        ("acme/*", "acmeevil/flights", False),
        ("acme/*", "ACME/flights", False),
        ("*", "any/thing", True),
    ],
)
def test_a_pattern_covers_names(keys, pattern, name, covered):
    refusal = trusted(keys, names=(pattern,)).refusal("producer", parse_name(name), NOW)
    assert (refusal == "") is covered


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"producer"}))
def test_a_key_acts_in_its_own_roles_only(keys, role):
    assert "has not the role" in trusted(keys).refusal(role, Name("acme/flights"), NOW)


def test_a_key_expires_with_five_minutes_of_grace(keys):
    key = trusted(keys, expires=NOW)
    name = Name("acme/flights")
    assert not key.refusal("producer", name, NOW + timedelta(minutes=5))
    assert "expired" in key.refusal("producer", name, NOW + timedelta(minutes=5, seconds=1))


def test_the_end_of_time_is_no_crash(keys):
    latest = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert not trusted(keys, expires=latest).refusal("producer", Name("acme/f"), latest)


def test_about_what_has_no_name_everybody_with_the_role_may_speak(keys):
    assert not trusted(keys).refusal("producer", UNNAMED, NOW)
    assert trusted(keys).refusal("scanner", UNNAMED, NOW)


def test_a_decision_explains_itself(keys, trust):
    authority = trust.authorise(trust.public, "producer", parse_name("acme/flights"), NOW)
    steps = authority.steps
    assert authority
    assert authority.count.outcome == "1 of 1 key needed"
    assert {step.input for step in steps} == {key.keyid for key in trust.public}
    assert [step.ok for step in steps].count(True) == 1
    assert all(step.rule == "producer-key" and step.outcome for step in steps)


def test_a_directory_reads_what_it_writes(keys, tmp_path):
    first = trusted(keys, expires=NOW, names=("acme/*", 'o"dd\\na/me'))
    second = trusted(keys, "scanner", roles=("scanner", "approver"))
    create(tmp_path / "trust", first)
    add(tmp_path / "trust", second)
    assert load(tmp_path / "trust").keys == (first, second)
    with pytest.raises(UsageError, match="already"):
        create(tmp_path / "trust", first)
    with pytest.raises(UsageError, match="already"):
        add(tmp_path / "trust", trusted(keys, names=("other/*",)))


def test_a_directory_keeps_dates_reasons_comments_and_thresholds(keys, tmp_path):
    revoked = Revocation(since=NOW, reason='a "lost" laptop\\\n\x7f\u00e9 \U0001f4bb')
    first = trusted(keys, valid_from=NOW, revoked=revoked, comment="of the \t night shift")
    create(tmp_path, first)
    asked = [
        Threshold(role="producer", names=("acme/*", 'o"dd'), threshold=2),
        Threshold(role="deriver", names=("*",), threshold=3),
    ]
    for one in asked:
        require(tmp_path, one)
    add(tmp_path, trusted(keys, "scanner"))
    found = load(tmp_path)
    assert found.keys == (first, trusted(keys, "scanner"))
    assert found.thresholds == tuple(asked)
    require(tmp_path, Threshold(role="deriver", names=("*",), threshold=1))
    assert [one.threshold for one in load(tmp_path).thresholds] == [2, 1]


def test_a_directory_of_old_is_read_and_keeps_its_digest(keys, tmp_path):
    """Without schemes, dates and thresholds; old records name it by this digest."""
    create(tmp_path, trusted(keys))
    path = tmp_path / "trust.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("scheme")]
    path.write_text("\n".join(lines))
    described = [[load_public(keys.pub("producer")).keyid, ["producer"], ["acme/*"], ""]]
    assert load(tmp_path).digest == digest_json(described)


def test_the_digest_names_what_is_trusted(keys, tmp_path):
    digests = set()
    for index, more in enumerate(
        (
            *({}, {"names": ("b/*",)}, {"roles": ("scanner",)}, {"expires": NOW}),
            *({"valid_from": NOW}, {"revoked": Revocation(since=NOW, reason="lost")}),
        )
    ):
        create(tmp_path / str(index), trusted(keys, **more))
        digests.add(load(tmp_path / str(index)).digest)
    require(tmp_path / "0", Threshold(role="producer", names=("*",), threshold=2))
    digests.add(load(tmp_path / "0").digest)
    assert len(digests) == 7


DOUBTFUL = {
    "a bare name falls apart into letters, of which * is one": (
        'names = ["acme/*"]',
        'names = "acme/*"',
    ),
    "a bare role": ('roles = ["producer"]', 'roles = "producer"'),
    "names that are no strings": ('names = ["acme/*"]', "names = [1]"),
    "no names": ('names = ["acme/*"]', "names = []"),
    "no roles": ('roles = ["producer"]', "roles = []"),
    "an unknown role": ('roles = ["producer"]', 'roles = ["owner"]'),
    "a missing field": ('roles = ["producer"]', ""),
    "a misspelt field": ("[[key]]", "[[key]]\nexpire = 2020-01-01"),
    "an expiry that is a string": ("[[key]]", '[[key]]\nexpires = "2020-01-01"'),
    "an expiry that is a time of day": ("[[key]]", "[[key]]\nexpires = 07:32:00"),
    "a version of tomorrow": ("version = 1", "version = 2"),
    "no version": ("version = 1", ""),
    "a field at the top": ("version = 1", "version = 1\nthreshold = 2"),
    "a scheme that is not the key's": ('scheme = "ed25519"', 'scheme = "rsassa-pss-sha256"'),
    "a revocation without a reason": ("[[key]]", "[[key]]\nrevoked = { since = 2026-01-01 }"),
    "a revocation without a date": ("[[key]]", '[[key]]\nrevoked = { reason = "lost" }'),
    "a revocation that is a date": ("[[key]]", "[[key]]\nrevoked = 2026-01-01"),
    "a reason of nothing": (
        "[[key]]",
        '[[key]]\nrevoked = { since = 2026-01-01, reason = " " }',
    ),
    "a beginning that is no date": ("[[key]]", '[[key]]\nvalid_from = "soon"'),
    **{
        f"a threshold: {text}": ("version = 1", f"version = 1\n[[threshold]]\n{text}")
        for text in (
            'role = "producer"\nnames = ["a/*"]',
            'role = "producer"\nthreshold = 2',
            'names = ["a/*"]\nthreshold = 2',
            'role = "producer"\nnames = "a/*"\nthreshold = 2',
            'role = "producer"\nnames = []\nthreshold = 2',
            'role = "producer"\nnames = ["a/*"]\nthreshold = 0',
            'role = "producer"\nnames = ["a/*"]\nthreshold = true',
            'role = "producer"\nnames = ["a/*"]\nthreshold = "2"',
            'role = "producer"\nnames = ["a/*"]\nthreshold = 2\nof = 3',
            'role = "scanner"\nnames = ["a/*"]\nthreshold = 2',
        )
    },
    "one key where a list is meant": ("[[key]]", "[key]"),
    "keys that are no tables": ("[[key]]", "key = [1]\n[[other]]"),
    "a key elsewhere": ('file = "keys/', 'file = "../keys/'),
    "a key by an absolute path": ('file = "keys/', 'file = "/keys/'),
    "a key that is not there": ('file = "keys/', 'file = "keys/0'),
    "broken TOML": ("version = 1", "version = "),
}


@pytest.mark.parametrize(("old", "new"), DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_what_is_doubtful_is_an_error(keys, tmp_path, old, new):
    create(tmp_path, trusted(keys))
    path = tmp_path / "trust.toml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(GuardError):
        load(tmp_path)


def test_the_same_key_twice_is_refused_whatever_its_file_is_called(keys, tmp_path):
    create(tmp_path, trusted(keys))
    (tmp_path / "keys" / "again.pub").write_bytes(keys.pub("producer").read_bytes())
    entry = '[[key]]\nfile = "keys/again.pub"\nroles = ["scanner"]\nnames = ["*"]\n'
    with (tmp_path / "trust.toml").open("a") as file:
        file.write(entry)
    with pytest.raises(Untrusted, match="twice"):
        load(tmp_path)


def test_an_empty_trust_vouches_for_nothing(tmp_path):
    (tmp_path / "trust.toml").write_text("version = 1\n")
    with pytest.raises(UsageError, match="no keys"):
        load(tmp_path)
    with pytest.raises(UsageError, match="trust init"):
        load(tmp_path / "absent")


def test_a_date_expires_at_its_first_moment_and_a_zoneless_time_is_utc(keys, tmp_path):
    create(tmp_path, trusted(keys))
    path = tmp_path / "trust.toml"
    text = path.read_text()
    for written in ("2026-01-31", "2026-01-31T00:00:00", "2026-01-31T01:00:00+01:00"):
        path.write_text(text.replace("[[key]]", f"[[key]]\nexpires = {written}"))
        assert load(tmp_path).keys[0].expires == NOW


def test_people_write_times():
    for text in (
        "2026-01-31",
        "2026-01-31T00:00",
        "2026-01-31T00:00:00Z",
        "2026-01-31T02:00+02:00",
    ):
        assert parse_time(text) == NOW
    with pytest.raises(UsageError, match="not a time"):
        parse_time("tomorrow")
