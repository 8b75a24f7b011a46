"""Open the Dagster UI on this repository: `python -m pipelines.ui [options of dagster dev]`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from pipelines.resources import HOME


def main() -> None:
    """Set up DAGSTER_HOME and become `dagster dev`, in the same process."""
    home = prepare(Path(os.environ.get("DAGSTER_HOME", HOME / ".dagster")))
    os.chdir(HOME)
    os.environ.update(GX_ANALYTICS_ENABLED="false", DAGSTER_HOME=str(home))
    command = [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml"]
    os.execv(sys.executable, [*command, *sys.argv[1:]])


def prepare(home: Path) -> Path:
    """Make a DAGSTER_HOME without telemetry and without the first-run page, unless it is one."""
    home.mkdir(parents=True, exist_ok=True)
    template = Path(__file__).with_name("dagster.yaml")
    with suppress(FileExistsError), (home / "dagster.yaml").open("xb") as instance:
        instance.write(template.read_bytes())
    return home.resolve()


if __name__ == "__main__":
    main()
