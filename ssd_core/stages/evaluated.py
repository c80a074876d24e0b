"""The images behind an evaluation, for pages that show them."""

from ssd_core.data.shards.reader import SplitReader, open_split
from ssd_core.errors import UsageError
from ssd_core.logs import logger
from ssd_core.stages.outputs import StageOutput
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
