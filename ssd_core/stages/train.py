"""The step that learns: a converted data set in, a model directory out."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.backends import open_backend, open_ranks
from ssd_core.backends.base import Backend, DeviceInfo, Learner
from ssd_core.backends.ranks import Ranks
from ssd_core.benchmark.environment import describe_environment
from ssd_core.config import EvaluateConfig, TrainConfig, parse_section
from ssd_core.data.batches.loader import Loader
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, DivergedError, UsageError
from ssd_core.evaluation.run import evaluate_detector
from ssd_core.logs import format_duration, logger
from ssd_core.model_dir import (
    MODEL_DIR,
    ModelDescription,
    is_whole,
    read_description,
    write_model,
)
from ssd_core.stages.invocation import (
    prepare_out_dir,
    read_record,
    write_invocation,
    write_results,
)
from ssd_core.store import Location
from ssd_core.store.local import explain_disk_errors
from ssd_core.store.transfer import MirroredFile
from ssd_core.structures import StageResult
from ssd_core.train_log import LOG_FILE
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from ssd_core.training.identity import Identity, claim_directory, digest_identity, identify
from ssd_core.training.loop import Run, train

CHECKPOINT_DIR = "checkpoints"


def training_id(config: Mapping[str, Any], data_dir: Location, framework: str = "torch") -> str:
    """Return the name of the training that `run` would do with these arguments.

    Raises:
        UsageError: a wrong configuration.
        DataError: an incomplete data set.
    """
    section = parse_section(TrainConfig, config, "train")
    return digest_identity(identify(section, read_manifest(data_dir).digest, framework))


def run(
    config: Mapping[str, Any],
    data_dir: Location,
    out_dir: Location,
    *,
    recipe: str,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Train a detector, or continue where the same training was stopped.

    Writes `checkpoints/`, `train_log.jsonl`, `model/`, and last `results.json`. A training that is
    finished returns at once. Into a store the log goes with each checkpoint, so that any machine
    can continue.

    Args:
        config: the `train` section.
        data_dir: output of `convert`, also in a store.
        out_dir: place of this one training, a folder or the URI of a store.
        recipe: name of the recipe that the configuration comes from, for the record.
        framework: framework to run in.
        device: device to run on.

    Raises:
        UsageError: a wrong configuration, framework or device; `out_dir` holds another training.
        DataError: an incomplete data set, or an image that cannot be decoded.
        DivergedError: a loss or a weight is no longer finite.
        StoppedError: SIGTERM or Ctrl-C, after a checkpoint.
        SurroundingsError: the disk is full, the store is away, or a newer attempt has taken over.
    """
    section = parse_section(TrainConfig, config, "train")
    manifest = read_manifest(data_dir)
    identity = identify(section, manifest.digest, framework)
    training = digest_identity(identity)
    with open_ranks(framework) as ranks:
        if results := ranks.on_first(lambda: _read_finished(out_dir, training)):
            return _report(out_dir, results)
        backend = open_backend(framework, device, section.precision, ranks)
        with _log_dir(out_dir) as log_dir:
            log_path = log_dir / LOG_FILE
            is_mirrored = out_dir.local is None and ranks.rank == 0
            log = MirroredFile(log_path, out_dir) if is_mirrored else None
            checkpoints = CheckpointDir(out_dir / CHECKPOINT_DIR, training, log=log)
            work = _prepare(
                section, data_dir, log_path, backend=backend, checkpoints=checkpoints, ranks=ranks
            )

            ranks.on_first(
                lambda: _begin(out_dir, data_dir, identity, recipe=recipe, device=device)
            )
            logger.info("training on %d images, %s", work.num_images, backend.info.name)
            state = _train(work, log)
            description = ModelDescription(
                recipe=recipe,
                framework=framework,
                model=section.model,
                num_classes=len(manifest.classes),
                step=state.best_step or state.step,
                training_id=training,
                dataset_digest=manifest.digest,
                core_version=__version__,
            )

            def finish() -> dict[str, Any]:
                weights = state.best_weights or work.learner.weights()
                model_dir = out_dir / MODEL_DIR
                checkpoints.check_newest()
                write_model(model_dir, description, manifest.classes, weights)
                if log is not None:
                    log.publish()
                results = _results(state, description, backend.info)
                write_results(out_dir, results)
                return results

            results = ranks.on_first(finish)
    return _report(out_dir, results)


def finished(out_dir: Location, training: str) -> StageResult | None:
    """Return the result of this training, when its model is there and whole."""
    results = _read_finished(out_dir, training)
    return None if results is None else _report(out_dir, results)


def _read_finished(out_dir: Location, training: str) -> dict[str, Any] | None:
    model_dir = out_dir / MODEL_DIR
    try:
        description, (_, results) = read_description(model_dir), read_record(out_dir)
    except (DataError, UsageError):
        return None
    is_ours = description.training_id == training and is_whole(model_dir, description)
    return results if is_ours else None


def _begin(
    out_dir: Location, data_dir: Location, identity: Identity, *, recipe: str, device: str
) -> None:
    """Take the place of the training, and record what it was asked."""
    claim_directory(out_dir, identity)
    prepare_out_dir(out_dir, "train")
    write_invocation(
        out_dir,
        "train",
        identity["train"],
        inputs={"data_dir": {"uri": data_dir.uri, "digest": identity["dataset"]}},
        recipe=recipe,
        framework=identity["framework"],
        device=device,
        training_id=digest_identity(identity),
    )


@contextmanager
def _log_dir(out_dir: Location) -> Iterator[Path]:
    """Give the folder of the log, which grows: the output itself, for a store an empty one.

    What a killed attempt leaves in it is never needed again: the store has the log too.
    """
    if out_dir.local is not None:
        yield out_dir.local
        return
    with explain_disk_errors(Path(tempfile.gettempdir())):
        folder = tempfile.TemporaryDirectory(prefix="ssd-train-")
    with folder:
        yield Path(folder.name)


def _train(work: Run, log: MirroredFile | None) -> TrainState:
    """Train; where that fails for good, let the store have the log that tells why."""
    try:
        return train(work)
    except DivergedError:
        if log is not None:
            log.publish()
        raise


def _prepare(
    config: TrainConfig,
    data_dir: Location,
    log_path: Path,
    *,
    backend: Backend,
    checkpoints: CheckpointDir,
    ranks: Ranks,
) -> Run:
    """Open everything that the loop works with; nothing is written yet."""
    reader = open_split(data_dir, "train")
    loader = Loader(
        reader,
        image_size=config.model.image_size,
        augment=config.augment,
        mean=config.model.mean,
        batch_size=config.batch_size,
        seed=config.seed,
        num_threads=config.loader_threads,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    learner = backend.learner(config, len(reader.classes))
    return Run(
        config=config,
        num_images=reader.num_images,
        learner=learner,
        batches=loader.batches,
        checkpoints=checkpoints,
        log_path=log_path,
        facts={
            "training_id": checkpoints.training_id,
            "world_size": ranks.world_size,
            "device": asdict(backend.info),
        },
        ranks=ranks,
        evaluate=_evaluation(config, learner, data_dir),
    )


def _evaluation(
    config: TrainConfig, learner: Learner, data_dir: Location
) -> Callable[[], dict[str, float]] | None:
    """Return what measures the present weights on the val split, when that is asked for."""
    if config.evaluate_every is None:
        return None
    reader, settings = open_split(data_dir, "val"), EvaluateConfig()
    postprocess = settings.postprocess.apply(config.model.postprocess)

    def evaluate() -> dict[str, float]:
        detector = learner.detector(postprocess)
        return evaluate_detector(detector, reader, batch_size=settings.batch_size).metrics

    return evaluate


def _results(state: TrainState, description: ModelDescription, info: DeviceInfo) -> dict[str, Any]:
    return {
        "metrics": {
            "loss": state.loss,
            "images_per_second": state.images_per_second,
            **state.best_metrics,
        },
        "steps": state.step,
        "samples": state.samples,
        "seconds": state.seconds,
        "best_step": state.best_step,
        "model": description.summary(),
        "environment": describe_environment(info),
    }


def _report(out_dir: Location, results: Mapping[str, Any]) -> StageResult:
    metrics = results["metrics"]
    duration = format_duration(results["seconds"])
    model_dir = out_dir / MODEL_DIR
    logger.info(
        "trained %d steps in %s, loss %.3f: %s",
        results["steps"],
        duration,
        metrics["loss"],
        model_dir,
    )
    return StageResult(
        metrics=metrics,
        metadata={
            "uri": model_dir.uri,
            "training_id": results["model"]["training_id"],
            "steps": results["steps"],
            "device": results["environment"]["device_name"],
        },
    )
