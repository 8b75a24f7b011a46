"""Which of the 26 attacks each tool refuses: built for real, and run against the released tools.

Each cell is a new dataset of two small files, claimed with the tool, changed as the attack says,
and held against its claim by the tool's own command. `refused` is an exit status other than 0,
with our code for it; **accepted** is 0. "not offered" is a tool that has no such notion, by its
documentation. The peers go into an environment of their own:

    make peers
    .venv-peers/bin/pip install mlcroissant==1.1.1 bagit==1.9.0
    python benchmarks/attacks.py --peers .venv-peers/bin > docs/attacks.md
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import sys
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attack_tools import (
    FILES,
    PAYLOAD,
    TOOLS,
    Bag,
    Croissant,
    ModelSigning,
    Said,
    Toadstone,
    Tool,
    must,
    run,
)

NO = "not offered"
OTHER = "x,label\n9,9\n"
POLICY = 'rules = ["integrity", "provenance"]\nrequired = ["integrity", "provenance"]\n'


@dataclass(frozen=True)
class Attack:
    """One line of the table; `act` plays it with a tool and returns the cell."""

    number: str
    title: str
    act: Callable[[Tool], str]


def cell(said: Said) -> str:
    """What the tool answered, with our codes where it is ours."""
    codes: list[str] = []
    for line in said.words.splitlines():
        if line.startswith('{"'):
            told = json.loads(line)
            codes += [problem["code"] for problem in told.get("problems", ())]
            codes += [told["error"]] if "error" in told else []
    if codes and said.status == 0:
        return f"accepted, warned: {', '.join(dict.fromkeys(codes))}"
    return said.cell + (f": {', '.join(dict.fromkeys(codes))}" if codes else "")


def changed(change: Callable[[Tool], object]) -> Callable[[Tool], str]:
    """Claim, change, check."""

    def act(tool: Tool) -> str:
        must(tool.claim())
        must(tool.check())
        return NO if change(tool) == NO else cell(tool.check())

    return act


def second_name(tool: Tool) -> object:
    """A file that has another name outside, and a check that is asked to mind; only ours can be."""
    if not isinstance(tool, Toadstone):
        return NO
    tool.strict = True
    return replaced(Path.hardlink_to)(tool)


def at_signing(change: Callable[[Tool], object]) -> Callable[[Tool], str]:
    """Change, claim; and check where that was done."""

    def act(tool: Tool) -> str:
        change(tool)
        if isinstance(tool, Croissant):
            return NO  # it describes files one by one, and makes no claim itself
        said = tool.claim()
        if said.status:
            return f"{cell(said)} (to claim it)"
        return cell(tool.check())

    return act


def each(**ways: Callable[[Any], object]) -> Callable[[Tool], object]:
    """A way for each tool, by the name of its class; for the others there is none."""

    def change(tool: Tool) -> object:
        way = ways.get(type(tool).__name__)
        return way(tool) if way else NO

    return change


def entries(edit: Callable[[Any], object]) -> Callable[[Tool], object]:
    """Edit the list of files in what was claimed; a bag's is text and has ways of its own."""

    def change(tool: Tool) -> object:
        places = {
            Toadstone: lambda told: told["predicate"]["files"],
            ModelSigning: lambda told: told["predicate"]["resources"],
            Croissant: lambda told: told["distribution"],
        }
        tool.forge(lambda told: edit(places[type(tool)](told)))
        return None

    return change


def also_bag(
    bag: Callable[[str], str], others: Callable[[Tool], object]
) -> Callable[[Tool], object]:
    def change(tool: Tool) -> object:
        return tool.forge_text(bag) if isinstance(tool, Bag) else others(tool)

    return change


# 1 ----------------------------------------------------------------------------------------------


def outside(path: str) -> Callable[[Tool], object]:
    """The claim names a file that lies outside, with its true digest."""

    def edit(listed: Any) -> None:
        one = dict(listed[0])
        for key in ("path", "name", "contentUrl"):
            if key in one:
                one[key] = path if key != "contentUrl" else path.removeprefix("../")
        if "@id" in one:
            listed[0]["contentUrl"] = path
        else:
            listed.append(one)

    def bag(text: str) -> str:
        return text + text.splitlines()[0].replace("data/a.csv", path) + "\n"

    def change(tool: Tool) -> object:
        for place in (tool.home / "secret.csv", tool.home.parent / "secret.csv"):
            place.write_text(FILES["a.csv"])
        return also_bag(bag, entries(edit))(tool)

    return change


# 2, 3, 4: what a name can be instead of a file --------------------------------------------------


def replaced(make: Callable[[Path, Path], object]) -> Callable[[Tool], object]:
    def change(tool: Tool) -> None:
        inside, beyond = tool.data / "a.csv", tool.home / "elsewhere.csv"
        inside.rename(beyond)
        make(inside, beyond)

    return change


def cycle(tool: Tool) -> None:
    (tool.data / "round").symlink_to(tool.data, target_is_directory=True)


# 5, 7, 8: what lies there -----------------------------------------------------------------------


def twins(first: str, second: str) -> Callable[[Tool], object]:
    def change(tool: Tool) -> None:
        (tool.data / first).write_text(OTHER)
        (tool.data / second).write_text(OTHER + "8,8\n")

    return change


def extra(path: str, text: str | None) -> Callable[[Tool], object]:
    def change(tool: Tool) -> None:
        place = tool.data / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if text is None else place.write_text(text)

    return change


def rewrite(edit: Callable[[str], str]) -> Callable[[Tool], object]:
    def change(tool: Tool) -> None:
        path = tool.data / "a.csv"
        path.write_text(edit(path.read_text()))

    return change


def twice(tool: Tool) -> object:
    def edit(listed: Any) -> None:
        listed.append({**listed[0], **({"@id": "again"} if "@id" in listed[0] else {})})

    return also_bag(lambda text: text + text.splitlines()[0] + "\n", entries(edit))(tool)


def two_digests(tool: Tool) -> object:
    def edit(listed: Any) -> None:
        other = dict(listed[0])
        for key in ("sha256", "digest"):
            if key in other:
                other[key] = "0" * 64
        listed.insert(0, other)

    def bag(text: str) -> str:
        return "0" * 64 + text.splitlines()[0][64:] + "\n" + text

    return also_bag(bag, entries(edit))(tool)


# 9 ----------------------------------------------------------------------------------------------


def swapped_after(tool: Tool) -> str:
    """The file is replaced after it was checked: what is then read?"""
    must(tool.claim())
    must(tool.check())
    if not isinstance(tool, Toadstone):
        (tool.data / "a.csv").write_text(OTHER)
        return "**accepted**: nothing binds the check to the read"
    (tool.home / "p.toml").write_text(POLICY)
    must(tool.cli("scan data --trust trust --policy p.toml --key keys/key.pem --out run"))
    must(tool.cli("gate data --record run/record.json --trust trust --policy p.toml --into store"))
    (tool.data / "a.csv").write_text(OTHER)
    held = [path.read_text() for path in (tool.home / "store").rglob("a.csv")]
    assert held == [FILES["a.csv"]]
    again = tool.cli("gate data --record run/record.json --trust trust --policy p.toml")
    return f"{again.cell}; the copy handed out is the proven one"


# 10 to 13: the document -------------------------------------------------------------------------


def deep(tool: Tool) -> object:
    bomb = "[" * 1_000_000 + "]" * 1_000_000
    return also_bag(
        lambda text: text + bomb, lambda t: t.forge_text(lambda text: text[:-1] + f',"x":{bomb}}}')
    )(tool)


def doubled(tool: Tool) -> object:
    """The same key twice: one parser takes the first, another the last."""

    def twice_over(text: str) -> str:
        key = '"digest"' if isinstance(tool, ModelSigning) else '"sha256"'
        place = text.rindex(key)
        return f'{text[:place]}{key}: "{"0" * 64}", {text[place:]}'

    return NO if isinstance(tool, Bag) else tool.forge_text(twice_over)


def weak(tool: Tool) -> object:
    """Nothing but md5, of bytes that are right."""
    import hashlib

    sums = {name: hashlib.md5(text.encode()).hexdigest() for name, text in FILES.items()}

    def edit(listed: Any) -> None:
        for one in listed:
            name = Path(str(one.get("path") or one.get("name"))).name
            for key in ("sha256", "digest"):
                one.pop(key, None)
            one["digest" if "algorithm" in one else "md5"] = sums[name]
            if "algorithm" in one:
                one["algorithm"] = "md5"

    if isinstance(tool, Bag):
        for made in tool.home.glob("*manifest-sha256.txt"):
            made.unlink()
        lines = [f"{digest}  data/{name}\n" for name, digest in sums.items()]
        return (tool.home / "manifest-md5.txt").write_text("".join(lines)) and None
    if isinstance(tool, ModelSigning):
        tool.forge_text(lambda text: _weaker(text, edit))
        return None
    return entries(edit)(tool)


def _weaker(text: str, edit: Callable[[Any], object]) -> str:
    document = json.loads(text)
    edit(document["predicate"]["resources"])
    document["predicate"]["serialization"]["hash_type"] = "md5"
    return json.dumps(document)


def payload_type(tool: Tool) -> object:
    path = tool.manifest if isinstance(tool, Toadstone) else getattr(tool, "signature", None)
    if path is None:
        return NO
    path.write_text(path.read_text().replace(PAYLOAD, "application/vnd.in-toto.v2+json"))
    return None


def predicate_type(tool: Tool) -> object:
    if isinstance(tool, Croissant | Bag):
        return NO
    return tool.forge(lambda told: told.update(predicateType=told["predicateType"] + "x"))


# 14 to 18: whose word, when ---------------------------------------------------------------------


def replayed(tool: Tool) -> str:
    """Version 2 was seen; then version 1 comes again, data and claim."""
    must(tool.claim(1))
    must(tool.check())
    old = tool.home.parent / f"{tool.home.name}-old"
    shutil.copytree(tool.home, old, ignore=shutil.ignore_patterns("seen", "state"))
    (tool.data / "b.csv").write_text("x,label\n5,0\n6,1\n")
    must(tool.claim(2))
    must(tool.check())
    for path in old.rglob("*"):
        if path.is_file():
            shutil.copy(path, tool.home / path.relative_to(old))
    return cell(tool.check())


def other_name(tool: Tool) -> str:
    """Data and claim of one dataset, handed over as another."""
    must(tool.claim())
    if isinstance(tool, Toadstone):
        tool.expect = "acme/weather"
        return cell(tool.check())
    home = tool.home.with_name(f"{tool.home.name}-weather")
    tool.home.rename(home)
    tool.home, tool.data = home, home / "data"
    if isinstance(tool, ModelSigning):
        tool.data.rename(home / "weather")
        line = "verify key weather --signature model.sig --public_key key.pub"
        return cell(run([str(tool.binaries / "model_signing"), *line.split()], home))
    return cell(tool.check())


def one_key_for_two(tool: Tool) -> str:
    if not isinstance(tool, Toadstone):
        return NO
    must(tool.claim())
    must(tool.cli("trust threshold 2 --trust trust --name acme/*"))
    envelope = json.loads(tool.manifest.read_text())
    envelope["signatures"] = [{**envelope["signatures"][0], "keyid": str(n)} for n in range(2)]
    tool.manifest.write_text(json.dumps(envelope))
    return cell(tool.check())


def expired(tool: Tool) -> str:
    if not isinstance(tool, Toadstone):
        return NO
    must(
        tool.cli(
            "sign data --key keys/key.pem --name acme/flights --dataset-version 1"
            " --expires 2036-01-01T00:00:00Z"
        )
    )
    return cell(tool.cli("verify data --trust trust --format json --at 2036-02-01T00:00:00Z"))


def revoked(tool: Tool) -> str:
    if not isinstance(tool, Toadstone):
        return NO
    must(tool.claim())
    must(
        tool.cli(
            "trust revoke --trust trust --key keys/key.pub --reason stolen"
            " --since 2020-01-01T00:00:00Z"
        )
    )
    return cell(tool.check())


def null_signature(tool: Tool) -> object:
    """An ECDSA signature whose r and s are 0."""
    import base64

    nothing = base64.b64encode(bytes.fromhex("3006020100020100")).decode()
    if isinstance(tool, ModelSigning):
        bundle = json.loads(tool.signature.read_text())
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = nothing
        return tool.signature.write_text(json.dumps(bundle)) and None
    if isinstance(tool, Toadstone):
        envelope = json.loads(tool.manifest.read_text())
        envelope["signatures"][0]["sig"] = nothing
        return tool.manifest.write_text(json.dumps(envelope)) and None
    return NO


# 19 to 26 ---------------------------------------------------------------------------------------


def bomb(tool: Tool) -> str:
    """768 MiB of zeros in some kilobytes of Parquet, where 700 MiB may be used."""
    if not isinstance(tool, Toadstone):
        return "not decoded" if not isinstance(tool, Croissant) else NO
    import pyarrow as pa
    import pyarrow.parquet as pq

    zeros = pa.array([b"\0" * (768 << 20)], pa.large_binary())
    plain = {"use_dictionary": False, "write_statistics": False}
    pq.write_table(pa.table({"x": zeros}), tool.data / "c.parquet", compression="zstd", **plain)
    os.environ["TOADSTONE_DECODE_MIB"] = "700"
    said = tool.claim()
    del os.environ["TOADSTONE_DECODE_MIB"]
    return f"{cell(said)} (to claim it)"


def pickled(tool: Tool) -> str:
    """A pickle that writes a file when it is loaded, under the name of a table."""
    payload = b"cos\nsystem\n(S'touch %s'\ntR." % str(tool.home / "owned").encode()
    (tool.data / "a.csv").write_bytes(payload)
    if isinstance(tool, Toadstone):
        said = cell(tool.scan())
    else:
        said = cell(tool.claim() if not isinstance(tool, Croissant) else _load(tool))
    return "**executed**" if (tool.home / "owned").exists() else f"{said}; not executed"


def _load(tool: Tool) -> Said:
    tool.claim()
    return tool.check()


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    """A server that sends whoever asks to another, on a private address."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/a.csv":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/inner.csv")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(FILES["a.csv"].encode())

    def log_message(self, *_: object) -> None:
        """Nothing to the terminal."""


def redirected(tool: Tool) -> str:
    """A URL that leads to a private address: is it fetched?"""
    if not isinstance(tool, Croissant):
        return "fetches nothing"
    must(tool.claim())
    asked: list[str] = []
    handler = type("Handler", (_Elsewhere,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/a.csv"
        tool.forge(lambda told: told["distribution"][0].update(contentUrl=url))
        said = cell(tool.check())
        server.shutdown()
    return f"{said}, fetched" if "/inner.csv" in asked else said


def slipping(tool: Tool) -> str:
    """An archive with a member `../slipped`."""
    with zipfile.ZipFile(tool.data / "c.zip", "w") as archive:
        archive.writestr("../slipped.csv", OTHER)
    said = tool.claim()
    if isinstance(tool, Toadstone) and said.status == 0:
        said = tool.scan()
    slipped = list(tool.home.rglob("slipped.csv"))
    return "**written outside**" if slipped else "not unpacked"


def replayed_verdict(tool: Tool) -> str:
    """The record of a PASS, for other data."""
    if not isinstance(tool, Toadstone):
        return NO
    must(tool.claim())
    (tool.home / "p.toml").write_text(POLICY)
    must(tool.cli("scan data --trust trust --policy p.toml --key keys/key.pem --out run"))
    (tool.data / "a.csv").write_text(OTHER)
    must(tool.claim(2))
    line = "gate data --record run/record.json --trust trust --policy p.toml --format json"
    return cell(tool.cli(line))


def stale_index(tool: Tool) -> str:
    """The bytes change, size and modification time do not."""
    must(tool.claim())
    path = tool.data / "a.csv"
    if isinstance(tool, Toadstone):
        must(tool.cli("verify data --trust trust --index seen.index"))
    before = path.stat()
    path.write_text(FILES["a.csv"].replace("1,0", "7,0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if isinstance(tool, Toadstone):
        return cell(tool.cli("verify data --trust trust --index seen.index --format json"))
    return cell(tool.check())


def escape_codes(tool: Tool) -> str:
    """A name that paints the terminal, in what the tool prints."""
    must(tool.claim())
    (tool.data / "\x1b[31mred").write_text(OTHER)
    said = tool.check()
    if isinstance(tool, Toadstone):
        said = tool.cli("verify data --trust trust")
    raw = "**printed as it is**" if "\x1b[31m" in said.words else "escaped, or not shown"
    return f"{said.cell}; {raw}"


def reencoded(tool: Tool) -> object:
    """The same rows with other line ends."""
    path = tool.data / "a.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    return None


NFC, NFD = (unicodedata.normalize(form, "é.csv") for form in ("NFC", "NFD"))
ATTACKS = (
    Attack("1", "claim names `../secret.csv`", changed(outside("../secret.csv"))),
    Attack("1", "claim names an absolute path", changed(outside("/etc/hostname"))),
    Attack("2", "file replaced by a link out of the root", changed(replaced(Path.symlink_to))),
    Attack("2", "link to its own directory", changed(cycle)),
    Attack("3", "file is a hard link to one outside", changed(replaced(Path.hardlink_to))),
    Attack("3", "the same, where a second name is refused (`--strict`)", changed(second_name)),
    Attack("4", "file replaced by a fifo", changed(replaced(lambda path, _: os.mkfifo(path)))),
    Attack("5", "NFC and NFD twins", at_signing(twins(NFC, NFD))),
    Attack("5", "case-fold twins", at_signing(twins("c.csv", "C.csv"))),
    Attack("5", "zero-width letter in a name", at_signing(extra("c\u200b.csv", OTHER))),
    Attack("5", "newline in a name", at_signing(extra("c\nd.csv", OTHER))),
    Attack("6", "an entry twice", changed(twice)),
    Attack("6", "one path with two digests", changed(two_digests)),
    Attack("7", "extra file", changed(extra("c.csv", OTHER))),
    Attack("7", "extra empty file", changed(extra("c.csv", ""))),
    Attack("7", "extra empty directory", changed(extra("c", None))),
    Attack("7", "`.git/hooks/evil.py`", changed(extra(".git/hooks/evil.py", "print()"))),
    Attack("8", "file missing", changed(lambda tool: (tool.data / "a.csv").unlink())),
    Attack("8", "file truncated", changed(rewrite(lambda text: text[:-4]))),
    Attack("8", "file grown", changed(rewrite(lambda text: text + "9,9\n"))),
    Attack("8", "one digit changed", changed(rewrite(lambda text: text.replace("1,0", "1,1")))),
    Attack("9", "replaced between check and use", swapped_after),
    Attack("10", "a million nested brackets", changed(deep)),
    Attack("11", "a JSON key twice", changed(doubled)),
    Attack("12", "md5 alone", changed(weak)),
    Attack("13", "payload type swapped", changed(payload_type)),
    Attack("13", "look-alike predicate type", changed(predicate_type)),
    Attack("14", "old version replayed", replayed),
    Attack("15", "handed over under another name", other_name),
    Attack("16", "one key for a threshold of two", one_key_for_two),
    Attack("17", "claim expired", expired),
    Attack("17", "key revoked", revoked),
    Attack("18", "ECDSA signature with r = s = 0", changed(null_signature)),
    Attack("19", "same rows, other bytes", changed(reencoded)),
    Attack("20", "decompression bomb", bomb),
    Attack("21", "a pickle named as a table", pickled),
    Attack("22", "URL redirected to a private address", redirected),
    Attack("23", "zip with `../` inside", slipping),
    Attack("24", "verdict replayed for other data", replayed_verdict),
    Attack("25", "changed bytes, same size and time", stale_index),
    Attack("26", "ANSI codes in a file name", escape_codes),
)


def played(attack: Attack, kind: type[Tool], binaries: Path, home: Path) -> str:
    """One cell; what the tool cannot be asked is told, not left out."""
    tool = kind(home, binaries)
    return attack.act(tool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="the bin of their environment")
    parser.add_argument("--only", nargs="+", default=[], help="numbers of attacks")
    given = parser.parse_args()
    names = [kind.name for kind in TOOLS]
    print(_heading())
    print(f"| | attack | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    answers: list[list[str]] = []
    for line, attack in enumerate(ATTACKS):
        if given.only and attack.number not in given.only:
            continue
        with tempfile.TemporaryDirectory(prefix="attack") as place:
            cells = [
                played(attack, kind, given.peers.resolve(), Path(place) / f"{line}-{kind.name}")
                for kind in TOOLS
            ]
        answers.append(cells)
        print(f"| {attack.number} | {attack.title} | {' | '.join(cells)} |", flush=True)
    print(f"| | **let through** | {' | '.join(map(_let_through, zip(*answers, strict=True)))} |")


def _let_through(cells: Sequence[str]) -> str:
    """How many of the attacks that a tool could be asked about it accepts, or cannot end."""
    asked = [cell for cell in cells if cell not in (NO, "fetches nothing", "not decoded")]
    passed = sum("accepted" in cell or "hangs" in cell or "outside" in cell for cell in asked)
    return f"{passed} of {len(asked)}"


def _heading() -> str:
    first, about, _ = (" ".join(part.split()) for part in (__doc__ or "").split("\n\n"))
    about = about.rpartition(" The peers")[0]
    when = f"Run on {datetime.now(UTC):%-d %B %Y}, {sys.platform}, by `benchmarks/attacks.py`."
    return f"# Attacks on provenance\n\n{first}\n\n{about}\n\n{when}\n"


if __name__ == "__main__":
    main()
