from __future__ import annotations

import subprocess
import sys


def test_importing_the_judge_imports_neither_torch_nor_scipy():
    code = (
        "import sys, stillwired.judge, stillwired.judge.gate, stillwired.judge.planning\n"
        "print([m for m in ('torch', 'scipy', 'pytest') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
