"""A finished evaluation: its images, for pages that show them, and its model."""

from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.errors import UsageError
from ssd_core.logs import logger
from ssd_core.stages.detector import OpenedModel
from ssd_core.stages.outputs import StageOutput, read_output
from ssd_core.store import Location
from ssd_core.store.layout import MANIFEST_FILE


def open_evaluated(evaluation: StageOutput, data_dir: Location | None = None) -> SplitReader | None:
    """Open the split that an evaluation of a model read; None if its data no longer exist.

    Raises:
        UsageError: `data_dir`, where the data are now, is another data set.
    """
    evaluated = evaluation.invocation["inputs"]["dataset"]
    source = data_dir or Location.parse(evaluated["uri"])
    if data_dir is None and source.head(MANIFEST_FILE) is None:
        logger.info("the page has no images: %s no longer holds a data set", source)
        return None
    reader = open_split(source, evaluation.invocation["config"]["split"])
    if reader.manifest.digest == evaluated["digest"]:
        return reader
    if data_dir is not None:
        raise UsageError(f"{source} is not the evaluated data set, {evaluated['uri']}")
    logger.info("the page has no images: %s now holds another data set", source)
    return None


def read_evaluation(directory: Location, model: OpenedModel) -> StageOutput:
    """Read an evaluation of a model in the same framework and precision.

    Raises:
        UsageError: it is not an evaluation of this model, or was computed in another way.
    """
    output = read_output(directory, "the output of 'ssd evaluate'")
    measured = output.invocation["inputs"].get("model", {}).get("digest")
    if output.invocation["stage"] != "evaluate" or measured != model.source.digest:
        raise UsageError(f"{directory} is not an evaluation of {model.source.uri}")
    environment, ours = output.results["environment"], model.device
    theirs = environment["framework"], environment["precision"]
    if theirs != (ours.framework, ours.precision):
        raise UsageError(
            f"{directory} was computed by {' in '.join(theirs)}, this benchmark would be by "
            f"{ours.framework} in {ours.precision}; evaluate with the same --framework and --device"
        )
    return output
