"""The arrows of the house: who may import whom, what is loaded when, and what never is."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUARDS = sorted((ROOT / "guards").rglob("*.py"))
PIPELINES = sorted((ROOT / "pipelines").rglob("*.py"))
EVERYONE = {"errors", "text", "files", "private", "_version"}
SHARED = {
    "conjunction",
    "gathering",
    "movement",
}  # what rules have in common, as they do not know each other
# Room or top-level module -> what it may import of ours, beside `EVERYONE`.
ARROWS = {
    "errors": set(),
    "text": set(),
    "files": set(),
    "private": set(),
    "_version": set(),
    "digest": set(),
    "numerics": {"numerics"},
    "engine": set(),
    "allowance": set(),
    "findings": {"digest"},
    "verdict": {"findings", "digest"},
    "provenance": {"provenance", "digest", "engine"},
    "data": {"data", "provenance", "digest", "numerics", "engine"},
    "checks": {
        *("data", "provenance", "numerics", "findings", "digest", "engine", "allowance"),
        *SHARED,
    },
    "conjunction": {"data", "numerics", "findings"},
    "gathering": {"data", "numerics", "findings"},
    "movement": {"data", "numerics", "findings"},
    "record": {"provenance", "verdict", "digest"},
    "report": {"report", "verdict", "findings", "provenance", "record", "digest"},
    "redteam": {"redteam", "data", "provenance", "numerics", "findings", "digest"},
    "publish": {"data", "provenance", "digest", "remote"},
    "history": {"data", "provenance", "record", "findings", "verdict", "digest"},
    "budget": {"checks", "verdict"},
    "anchor": {"data", "provenance", "digest"},
    "inputs": {"anchor", "data", "provenance", "publish", "verdict", "digest", "secret"},
    "contracts": {"checks", "data", "provenance", "publish", "findings", "verdict", "digest"},
    "explain": {"explain", "checks", "data", "numerics", "findings", "verdict", "digest"},
    "bundle": {
        *("data", "report", "record", "provenance", "verdict", "findings", "digest", "explain"),
        *("history", "budget", "waiving", "allowance"),
    },
    "waiving": {"provenance", "record", "report", "verdict", "findings", "digest"},
    "release": {"data", "publish", "bundle", "report", "provenance", "findings", "digest"},
    "made": {"provenance", "digest"},
    "lineage": {"record", "provenance", "digest"},
    "scan": {
        "allowance",
        "made",
        "explain",
        "budget",
        "history",
        "release",
        "provenance",
        "data",
        "checks",
        "verdict",
        "report",
        "findings",
        "digest",
        "publish",
        "inputs",
        "bundle",
        "record",
        "waiving",
        "remote",
    },
    "gate": {"provenance", "verdict", "record", "digest"},
    "secret": set(),
    "verify": {"provenance", "digest", "secret"},
    "foreign": {"provenance", "digest"},
    "export": {"provenance", "digest", "record", "verdict", "verify"},
    "reencoded": {"data", "provenance", "digest", "remote"},
    "remote": {"provenance", "digest"},
    "api": {
        *("gate", "made", "scan", "release", "verify", "publish", "provenance", "verdict"),
        *("digest", "reencoded", "remote"),
    },
    "integrations": {
        "made",
        "api",
        "scan",
        "gate",
        "verify",
        "publish",
        "bundle",
        "integrations",
        "provenance",
        "verdict",
        "findings",
        "digest",
        "record",
        "inputs",
        "data",
    },
}
ANYTHING = {"", "cli", "commands", "console", "demo"}
HEAVY = {
    "torch",
    "sklearn",
    "great_expectations",
    "ray",
    "pandas",
    "scipy",
    "dagster",
    "polars",
    "pyarrow",
    "matplotlib",
    "PIL",
    "jinja2",
    "rich",
}
INSIDE_FUNCTIONS = {"torch", "sklearn", "great_expectations", "ray", "pandas"}


def room(path: Path) -> str:
    """`guards/checks/drift.py` lies in `checks`, `guards/gate.py` in `gate`."""
    parts = path.relative_to(ROOT / "guards").with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imports(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """Every module that a file names; whether inside a function, whether for types only."""

    def walk(node: ast.AST, inside: bool, typing: bool) -> Iterator[tuple[str, bool, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", inside, typing) for alias in node.names)
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside, typing or only)

    return walk(ast.parse(path.read_text(encoding="utf-8")), inside=False, typing=False)


def ours(path: Path) -> set[str]:
    """The rooms of `guards` that a file imports when it runs, its own parts left out."""
    named = [name.split(".") for name, _, typing in imports(path) if not typing]
    return {(parts[1] if len(parts) > 1 else "") for parts in named if parts[0] == "guards"}


def outside(path: Path, where: str = "anywhere") -> set[str]:
    """The packages of others that a file imports: anywhere, or when it is itself loaded."""
    return {
        name.split(".")[0]
        for name, inside, typing in imports(path)
        if not typing and (where == "anywhere" or not inside)
    }


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_a_house_to_look_at():
    assert len(GUARDS) > 30
    assert {room(path) for path in GUARDS} >= {"provenance", "data", "checks", "report", "gate"}


@pytest.mark.parametrize("path", GUARDS, ids=relative)
def test_every_file_keeps_to_the_arrows(path):
    here = room(path)
    if here in ANYTHING:
        return
    assert here in ARROWS, f"{relative(path)}: a new room; give it its arrows here and in DESIGN"
    allowed = ARROWS[here] | EVERYONE
    if relative(path) == "guards/gate.py":
        allowed |= {"data"}  # only inside Admitted.table, held below
    assert ours(path) <= allowed, f"{relative(path)} may not import {ours(path) - allowed}"


def test_the_gate_decodes_nothing_before_the_bytes_are_proved():
    early = [n for n, inside, typing in imports(ROOT / "guards/gate.py") if not (inside or typing)]
    assert not [name for name in early if name.startswith("guards.data")]


@pytest.mark.parametrize("path", [p for p in GUARDS if room(p) == "checks"], ids=relative)
def test_checks_know_neither_each_other_nor_the_adversary(path):
    named = {name for name, _, _ in imports(path)}
    assert not [n for n in named if n.startswith(("guards.checks.", "guards.redteam"))]


@pytest.mark.parametrize("path", [p for p in GUARDS if room(p) == "numerics"], ids=relative)
def test_numerics_take_arrays_and_nothing_of_ours(path):
    assert ours(path) <= {"numerics"}
    assert not outside(path) & {"polars", "pyarrow", "pandas", "os", "pathlib", "io"}


@pytest.mark.parametrize("path", GUARDS + PIPELINES, ids=relative)
def test_frameworks_stay_in_their_rooms(path):
    found = outside(path)
    assert not found & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    if "guards" in path.relative_to(ROOT).parts[0] and room(path) != "integrations":
        assert "dagster" not in found
    if path in GUARDS and room(path) != "integrations":
        at_once = outside(path, "at once") & INSIDE_FUNCTIONS
        assert not at_once, f"{relative(path)} imports {at_once} outside of a function"


@pytest.mark.parametrize("path", PIPELINES, ids=relative)
def test_the_deployment_speaks_to_the_integration_and_to_the_public_face_only(path):
    """`Admitted` is what the integration hands out, so the deployment may name its type."""
    named = {name for name, _, typing in imports(path) if name.startswith("guards") and not typing}
    inner = {name for name in named if not name.startswith("guards.integrations")}
    assert inner <= {"guards", "guards.gate.Admitted"}


@pytest.mark.parametrize("path", GUARDS + PIPELINES, ids=relative)
def test_nothing_is_ever_unpickled(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        assert name not in {"torch.load", "np.load", "numpy.load", "eval", "exec", "yaml.load"}, (
            name
        )
        assert not any(k.arg == "allow_pickle" for k in call.keywords)


def test_every_rule_has_its_module_and_every_module_its_rule():
    from guards.checks import CHECKS

    modules = {
        f"guards.checks.{p.stem}" for p in GUARDS if room(p) == "checks" and p.stem != "__init__"
    }
    assert set(CHECKS.values()) == modules


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `code`."""
    tell = "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    probe = f"import sys, json\n{code}\n{tell}"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=environment()
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_import_guards_is_light():
    loaded = loaded_by("import guards")
    assert "guards" in loaded
    assert not loaded & {*HEAVY, "numpy", "cryptography", "dataclasses"}


@pytest.mark.parametrize("line", [["--version"], ["verify", "--help"], ["--help"]])
def test_what_looks_at_nothing_loads_next_to_nothing(line):
    """A second of a laptop's processor, each time, would be for modules that nobody asked for."""
    told = f"from guards.cli import main\ntry: main({line!r})\nexcept SystemExit: print()"
    assert not loaded_by(told) & {*HEAVY, "numpy", "cryptography", "concurrent", "logging"}


def test_verify_loads_nothing_heavy(spine):
    for more in (
        [],
        ["--state", str(spine.home / "state")],
        ["--index", str(spine.home / "index")],
    ):
        line = ["verify", str(spine.batch), "--trust", str(spine.trust_dir), "--quiet", *more]
        loaded = loaded_by(f"from guards.cli import main\nassert main({line!r}) == 0")
        assert "cryptography" in loaded, "it did verify"
        assert not loaded & {*HEAVY, "numpy", "concurrent", "logging"}


@pytest.mark.parametrize("name", ["scan", "verify"])
def test_a_function_is_not_replaced_by_the_module_of_its_name(name):
    """Whoever loads the module first, and however: `guards.scan` is what the docs call."""
    is_function = f"assert guards.{name} is sys.modules['guards.api'].{name} is {name} is m\n"
    for first in ("pass", f"import guards.{name}", f"from guards.{name} import {name}"):
        loaded_by(
            f"{first}\nimport guards, sys\nfrom guards import {name}\nimport guards.{name} as m\n"
            f"{is_function}import guards.inputs, guards.{name}\n{is_function}"
            f"assert sys.modules['guards.{name}'].{name} is not m"
        )


def test_every_command_is_found_by_its_name():
    from guards.cli import _COMMANDS, _parser

    every = _commands_of(_parser(""))
    assert list(every) == list(_COMMANDS), "in the order of the help"
    for command, module in _COMMANDS.items():
        alone = [name for name in _COMMANDS if _COMMANDS[name] == module]
        assert list(_commands_of(_parser(command))) == alone


def _commands_of(parser):
    return next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))


def test_help_takes_little_of_the_processor():
    """At most a second of CPU, the least of three runs, so that a busy machine is no failure."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "guards.cli", "--help"]
        subprocess.run(command, check=True, capture_output=True, env=environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= 1.0


def test_the_pinned_dependencies_hold_no_gpu_build():
    """Torch is chosen by set-up for the machine it runs on; a pin would force one build on all."""
    path = ROOT / "requirements" / "constraints.txt"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 10
    assert not [
        line for line in lines if re.search(r"(?i)^(torch|nvidia|triton|cuda)|\+cpu|\+cu\d", line)
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^ ]+", line) for line in lines)


def test_the_public_names_are_those_that_are_promised():
    import guards

    assert all(hasattr(guards, name) for name in guards.__all__)
    assert {*guards.__all__} <= {*dir(guards)}
    assert not hasattr(guards, "scanned")
    assert {"scan", "verify", "sign", "require_pass", "GateRefused", "load_policy"} <= set(
        guards.__all__
    )


def test_the_tests_have_the_same_names_in_every_process(request):
    """Workers that collect different names run nothing: a name must not hold a clock or a hash."""
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(found.stdout.splitlines())
    assert len(names) > 1000
    assert {item.nodeid for item in request.session.items} <= names
