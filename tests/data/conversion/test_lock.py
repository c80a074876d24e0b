"""The lock on a data set works between processes and ends with its holder."""

import subprocess
import sys
from pathlib import Path

from ssd_core.data.conversion.ownership import lock_dataset, try_lock

HOLDER = """
import sys, time
from pathlib import Path
from ssd_core.data.conversion.ownership import lock_dataset
with lock_dataset(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time_holds_the_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, tmp_path]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with try_lock(tmp_path) as held:
        assert held == "busy"
    holder.kill()
    with lock_dataset(tmp_path):  # the lock ends with its process
        pass
    holder.communicate()
    with try_lock(tmp_path) as held:
        assert held == "held"
