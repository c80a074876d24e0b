"""Make the job, or take over the one that an earlier attempt of the same step made."""

import time
import uuid
from dataclasses import dataclass

from ssd_core.errors import OwnershipError, SurroundingsError
from ssd_core.launch.cluster import Cluster
from ssd_core.launch.job import DIGEST, LAUNCHER, Job, Manifest, signed
from ssd_core.launch.kinds import KINDS, JobKind
from ssd_core.logs import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job that is there, and who made it."""

    kind: JobKind
    name: str
    uid: str
    is_ours: bool
    """Made by this very process, which may therefore delete it."""


def submit(cluster: Cluster, job: Job, owners: list[Manifest]) -> Submitted:
    """Create the job, or adopt one of that name which asks for exactly the same.

    Raises:
        OwnershipError: the name belongs to another job.
        SurroundingsError: a job of that name is being deleted and does not go.
        UsageError: the cluster refuses the job.
    """
    kind = KINDS[job.spec.kind]
    launcher = uuid.uuid4().hex
    manifest = signed(kind.render(job), launcher, owners)
    deadline = time.monotonic() + cluster.patience.removal_seconds
    while True:
        cluster.create(kind, manifest)
        # Also after a success: a repeated creation may have met what its first attempt made.
        found, _ = cluster.find(kind, job.name)
        if found and "deletionTimestamp" not in found["metadata"]:
            return _accept(found, kind, manifest)
        if time.monotonic() > deadline:
            raise SurroundingsError(f"job {job.name} is being deleted and does not go; try later")
        if found:
            logger.info("job %s is being deleted; waiting for its end", job.name)
        time.sleep(cluster.patience.pause_seconds)


def _accept(found: Manifest, kind: JobKind, manifest: Manifest) -> Submitted:
    """Return the job that is there when it is the wanted one."""
    name = manifest["metadata"]["name"]
    marks, wanted = found["metadata"].get("annotations", {}), manifest["metadata"]["annotations"]
    is_ours = marks.get(LAUNCHER) == wanted[LAUNCHER]
    if marks.get(DIGEST) != wanted[DIGEST]:
        raise OwnershipError(
            f"{kind.resource} {name} exists and asks for something else; delete it, or start "
            "another run"
        )
    logger.info("%s %s %s", "created" if is_ours else "adopted", kind.resource, name)
    return Submitted(kind=kind, name=name, uid=found["metadata"]["uid"], is_ours=is_ours)
