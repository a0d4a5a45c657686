"""The soak in small: exact while processes die, stand still, and Redis forgets."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_is_lost_doubled_or_reordered_under_faults() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--messages", "1500"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
    )
    print(done.stdout)  # the seed, where it fails
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "soak passed" in done.stdout
