"""What statistics on tables and labels cost, beside the peers: the command; `figures.py` has it.

    python benchmarks/statistics.py [--evidently PYTHON] [--alibi PYTHON] [--pandera PYTHON]

The standard library has a module of this name, and Python looks for modules beside the script that
it runs first. So nothing of ours is defined here: whoever imports `statistics` from a script of
this directory, as libraries do, is given the standard library's own.
"""

import sys
import sysconfig
from importlib.util import spec_from_file_location
from pathlib import Path

if __name__ == "__main__":
    from figures import main

    main()
else:
    found = spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "statistics.py")
    if found is None or found.loader is None:
        raise ImportError("the standard library's statistics is not where it should be")
    found.loader.exec_module(sys.modules[__name__])
