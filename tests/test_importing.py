"""What only some calls need is imported by them."""

import subprocess
import sys


def test_the_package_imports_without_what_reads_digits() -> None:
    code = "import sys, spikesight; print('sklearn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
