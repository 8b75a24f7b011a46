"""The order in which delegations are asked, and what the small form says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from guards.errors import GuardError, Untrusted, UsageError
from guards.provenance import trust as trusts
from guards.provenance.authority import Delegation, Scope, Standing, Trust, TrustedKey
from guards.provenance.manifest import UNNAMED, parse_name
from guards.provenance.memory import Memory
from guards.provenance.signing import load_public

NOW = datetime(2026, 1, 31, tzinfo=UTC)
FLIGHTS = parse_name("acme/flights/2026-01")


@pytest.fixture
def who(keys):
    def of(name: str, **more) -> TrustedKey:
        given = {"roles": trusts.ROLES, "names": ("*",), **more}
        return TrustedKey(key=load_public(keys.pub(name)), **given)

    return of


def given(*keys, names=("acme/*",), roles=("producer",), **more) -> Delegation:
    scope = (Scope(roles=roles, names=names),)
    return Delegation(where=more.pop("where", "x"), keys=keys, scope=scope, **more)


def asks(trust, *signers, role="producer", name=FLIGHTS, at=NOW):
    return trust.authorise([one.key for one in signers], role, name, at)


class TestTheOrder:
    def test_the_first_with_enough_keys_decides(self, who):
        a, b = who("producer"), who("second")
        trust = Trust(delegations=(given(a, where="one"), given(b, where="two", threshold=1)))
        assert asks(trust, b)
        assert [s.input for s in asks(trust, a).steps if s.rule == "delegation"] == ["one"]
        assert [s.input for s in asks(trust, b).steps if s.rule == "delegation"] == ["one", "two"]

    def test_a_terminating_one_is_the_last(self, who):
        a, b, c = who("producer"), who("second"), who("both", roles=("producer",))
        trust = Trust(
            delegations=(given(a, terminating=True, names=("acme/flights",)), given(b)), keys=(c,)
        )
        assert asks(trust, a)
        assert not asks(trust, b)
        assert not asks(trust, c)
        assert asks(trust, b, name=parse_name("acme/weather"))
        assert asks(trust, c, name=parse_name("other/weather"))

    def test_a_role_that_is_not_delegated_is_asked_of_the_others(self, who):
        trust = Trust(
            delegations=(given(who("producer"), terminating=True),), keys=(who("scanner"),)
        )
        assert asks(trust, who("scanner"), role="scanner")
        assert not asks(trust, who("producer"), role="scanner")

    def test_what_nobody_covers_nobody_may(self, who):
        trust = Trust(delegations=(given(who("producer")),))
        found = asks(trust, who("producer"), name=parse_name("other/data"))
        assert not found
        assert "no delegation covers it" in found.why_not
        assert not asks(trust)
        assert not Trust().authorise([], "producer", FLIGHTS, NOW)

    def test_about_what_has_no_name_each_with_the_role_may_speak(self, who):
        trust = Trust(delegations=(given(who("scanner"), roles=("scanner",)),))
        assert asks(trust, who("scanner"), role="scanner", name=UNNAMED)

    def test_an_expired_standing_refuses_whoever_signs(self, who):
        old = Standing(name="root", version=3, expires=NOW)
        trust = Trust(delegations=(given(who("producer")),), standing=(old,))
        assert asks(trust, who("producer"), at=NOW + timedelta(minutes=5))
        late = asks(trust, who("producer"), at=NOW + timedelta(minutes=6))
        assert not late
        assert "root version 3 expired" in late.why_not
        told = trust.refusal(who("producer").key, "producer", FLIGHTS, NOW + timedelta(days=1))
        assert "counts for nothing: root version 3" in told


class TestTheSmallForm:
    @pytest.fixture
    def home(self, who, tmp_path):
        trusts.create(tmp_path, who("producer", names=("acme/*",)))
        return tmp_path

    def test_a_delegation_is_read_as_it_was_written(self, who, home):
        revoked = trusts.Revocation(since=NOW, reason='the "old" one')
        one = given(who("second", revoked=revoked), who("both"), where="flights", threshold=2)
        trusts.delegate(home, one)
        two = replace(given(who("scanner"), where="scans", roles=("scanner",)), terminating=True)
        trusts.delegate(home, two)
        assert trusts.load(home).delegations == (one, two)
        trusts.delegate(home, replace(one, threshold=1))
        assert [d.threshold for d in trusts.load(home).delegations] == [1, 1]
        assert [d.where for d in trusts.load(home).delegations] == ["flights", "scans"]

    def test_the_digest_names_delegations_and_their_order(self, who, home):
        digests = {trusts.load(home).digest}
        one, two = given(who("second"), where="one"), given(who("both"), where="two")
        for delegations in ((one,), (one, two), (two, one), (replace(one, terminating=True),)):
            digests.add(replace(trusts.load(home), delegations=delegations).digest)
        assert len(digests) == 5

    def test_a_key_is_rotated_wherever_it_is(self, who, home):
        trusts.delegate(home, given(who("producer"), who("both"), where="flights"))
        gone = trusts.Revocation(since=NOW, reason="lost")
        old, new = who("producer").key, who("second").key
        trusts.rotate(home, old, new, gone)
        trust = trusts.load(home)
        assert not trust.authorise([old], "producer", FLIGHTS, NOW)
        assert trust.authorise([old], "producer", FLIGHTS, NOW - timedelta(days=1))
        assert trust.authorise([new], "producer", FLIGHTS, NOW)
        assert [k.key for k in trust.delegations[0].keys][:2] == [old, new]
        with pytest.raises(UsageError, match="rotate to a new one"):
            trusts.rotate(home, old, new, gone)
        with pytest.raises(UsageError, match="is not in"):
            trusts.rotate(home, who("stranger").key, who("neighbour").key, gone)
        with pytest.raises(UsageError, match="--reason"):
            trusts.rotate(home, old, who("stranger").key, replace(gone, reason=""))

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('name = "flights"', ""),
            ('name = "flights"', 'name = " "'),
            ('name = "flights"', 'name = "flights"\nmore = 1'),
            ("terminating = false", "terminating = 0"),
            ("threshold = 1", "threshold = 0"),
            ("threshold = 1", "threshold = 2"),
            ("threshold = 1", "threshold = true"),
            ('roles = ["producer"]\nnames = ["acme/*"]\nthreshold', "threshold"),
            ("[[delegation.key]]", "[[delegation.keys]]"),
            ("[[delegation.key]]", '[[delegation.key]]\nroles = ["scanner"]'),
            ("[[delegation]]", "[delegation]"),
        ],
    )
    def test_what_is_doubtful_in_a_delegation_is_an_error(self, who, home, old, new):
        trusts.delegate(home, given(who("second"), where="flights"))
        path = home / "trust.toml"
        head, mark, tail = path.read_text().partition("[[delegation]]")
        assert (mark + tail).count(old) == 1
        path.write_text(head + (mark + tail).replace(old, new))
        with pytest.raises(GuardError):
            trusts.load(home)

    def test_one_key_twice_in_a_delegation_is_refused(self, who, home):
        trusts.delegate(home, given(who("second"), where="flights"))
        path, file = home / "trust.toml", f"keys/{who('second').key.keyid[:16]}.pub"
        (home / "keys" / "twin.pub").write_bytes((home / file).read_bytes())
        text = path.read_text() + '\n[[delegation.key]]\nfile = "keys/twin.pub"\n'
        path.write_text(text.replace("threshold = 1", "threshold = 2"))
        with pytest.raises(Untrusted, match="listed twice"):
            trusts.load(home)


def test_the_latest_time_is_only_ever_raised(tmp_path):
    memory = Memory(tmp_path)
    assert memory.recall_time() is None
    assert memory.backwards(NOW, told=False) is None
    for moment in (NOW, NOW - timedelta(days=1), NOW + timedelta(minutes=1)):
        memory.remember_time(moment)
        assert memory.recall_time() == NOW
    memory.remember_time(NOW + timedelta(hours=1))
    assert memory.recall_time() == NOW + timedelta(hours=1)
    assert memory.backwards(NOW + timedelta(minutes=55), told=False) is None
    turned = memory.backwards(NOW, told=False)
    assert turned is not None
    assert turned.code == "clock-turned-back"
