"""The kinds of job: how each is rendered, where the cluster keeps it, which pods are its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ssd_core.launch import ascendjob, trainjob
from ssd_core.launch.job import Job, Manifest


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job. `{name}` in a selector stands for the name of the job."""

    render: Callable[[Job], Manifest]
    group: str
    version: str
    plural: str
    operator: str
    """What must be installed for the cluster to know this kind."""
    container: str
    """Name of the container that trains."""
    pods: str
    """Selects the pods of a job."""
    node_zero: str
    """Selects the one pod of them whose log tells the story: it holds rank 0."""

    @property
    def resource(self) -> str:
        """Name of the kind as it stands in the rules of a Role."""
        return f"{self.plural}.{self.group}"


KINDS: Mapping[str, JobKind] = {
    "TrainJob": JobKind(
        render=trainjob.render,
        group="trainer.kubeflow.org",
        version="v1alpha1",
        plural="trainjobs",
        operator="Kubeflow Trainer v2",
        container=trainjob.CONTAINER,
        pods="jobset.sigs.k8s.io/jobset-name={name}",
        node_zero="jobset.sigs.k8s.io/jobset-name={name},"
        f"jobset.sigs.k8s.io/replicatedjob-name={trainjob.CONTAINER},"
        "batch.kubernetes.io/job-completion-index=0",
    ),
    "AscendJob": JobKind(
        render=ascendjob.render,
        group="mindxdl.gitee.com",
        version="v1",
        plural="ascendjobs",
        operator="the Ascend operator of MindCluster",
        container=ascendjob.CONTAINER,
        pods=f"{ascendjob.JOB_LABEL}={{name}}",
        node_zero=f"{ascendjob.JOB_LABEL}={{name}},{ascendjob.NODE_LABEL}=0",
    ),
}
