"""Start the ranks of this machine, as `torchrun` does, and report how they ended."""

import logging
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from ssd_core.backends.ranks import Nodes
from ssd_core.errors import TransientError
from ssd_core.logs import logger

_LOST = TransientError.exit_code
_CONSEQUENCES = (_LOST, -signal.SIGTERM, 128 + signal.SIGTERM)
"""How a rank ends after another one failed: it notices, or this process ends it."""


def launch(words: Sequence[str], nodes: Nodes) -> int:
    """Run an `ssd` command once per device of this machine.

    When one process fails, the others are ended too, at once or within half a minute. The result is
    the exit code of the rank that failed first by itself; 75 if it was killed.
    """
    for name in ("torch", "torch.distributed.elastic.agent.server.api"):  # with a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        launch_agent(_config(nodes), sys.executable, ["-m", "ssd_core.cli", *words])
    except SignalException as error:
        return 128 + error.sigval  # the ranks have reported it
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        rank, code = min(codes.items(), key=lambda item: (item[1] in _CONSEQUENCES, item[0]))
        if code > 0:
            return code  # the rank has printed its error
        logger.error("rank %d was killed by %s", rank, signal.Signals(-code).name)
        return _LOST
    return 0


def _config(nodes: Nodes) -> LaunchConfig:
    is_alone = nodes.nnodes == 1
    return LaunchConfig(
        min_nodes=nodes.nnodes,
        max_nodes=nodes.nnodes,
        nproc_per_node=nodes.num_devices,
        run_id="ssd",
        rdzv_backend="c10d" if is_alone else "static",
        rdzv_endpoint="127.0.0.1:0" if is_alone else f"{nodes.master_addr}:{nodes.master_port}",
        rdzv_configs={} if is_alone else {"rank": nodes.node_rank},
        local_addr="127.0.0.1" if is_alone else None,
        max_restarts=0,  # a rerun of the command continues; its caller decides about that
        monitor_interval=0.2,
    )
