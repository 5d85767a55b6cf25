"""Man pages and completions, from the commands that there are. Law of this file: it finds a Python that has collabd.

The pages are written by write_manual.py, in .venv, since this runs where there may be no click.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import checkout
from checkout import ROOT, run, set_up_python
from workshop import DIST, making


def manual() -> Path:
    """Write dist/manual anew, if a command may have changed. Returns its path; raises SetupFailed."""
    product = DIST / "manual"
    with making("manual", product) as is_needed:
        if is_needed:
            set_up_python("")
            shutil.rmtree(product, ignore_errors=True)
            script = ROOT / "packaging" / "write_manual.py"
            run([checkout.PYTHON, "-P", str(script), str(product)], "the manual could not be written")
    return product
