"""Train a detector: from a converted data set to a model directory."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ssd_core import __version__
from ssd_core.backends import launch_ranks, open_backend, open_ranks
from ssd_core.backends.base import Backend, DeviceInfo
from ssd_core.backends.ranks import Nodes, Ranks
from ssd_core.benchmark.environment import describe_environment
from ssd_core.config import Recipe
from ssd_core.data.batches.loader import check_world_size
from ssd_core.data.shards.manifest import Manifest, read_manifest
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, DivergedError, ProcessFailedError, UsageError
from ssd_core.logs import logger
from ssd_core.model_dir import (
    MODEL_DIR,
    ModelDescription,
    is_whole,
    read_description,
    write_description,
)
from ssd_core.recipes import RECIPES
from ssd_core.stages.feed import open_evaluation, open_loader
from ssd_core.stages.frame import Input, Invocation, Results, check_outside, run_stage
from ssd_core.stages.outputs import read_output
from ssd_core.stages.trained import keep_model, report
from ssd_core.store import Location
from ssd_core.store.location import is_empty
from ssd_core.store.transfer import MirroredFile
from ssd_core.structures import StageResult
from ssd_core.tracking import check_trackers, follow_training
from ssd_core.train_log import LOG_FILE
from ssd_core.training.checkpoints import CHECKPOINT_DIR, CheckpointDir, TrainState
from ssd_core.training.identity import Identity, digest_identity, identify
from ssd_core.training.initial import InitialWeights
from ssd_core.training.loop import train
from ssd_core.training.ownership import check_directory, claim_directory, record_owner
from ssd_core.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Training:
    """A recipe, a data set, and the framework and device to train with."""

    recipe: Recipe
    """The complete, resolved configuration."""
    data_dir: Location
    """Output of `convert`."""
    framework: str = "torch"
    device: str = "auto"
    resume: str = "strict"
    """Rule for a different training in the output directory; see `claim_directory`."""
    planned_hours: float | None = None
    """Result of `ssd plan`, with which the end of the training compares."""

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the data set."""
        return read_manifest(self.data_dir)

    @cached_property
    def initial_weights(self) -> InitialWeights:
        """The weights that the training starts from."""
        return InitialWeights(self.recipe.train.init)

    @cached_property
    def identity(self) -> Identity:
        """Everything that affects the resulting weights."""
        digest = self.manifest.digest
        return identify(self.recipe, digest, self.framework, self.initial_weights.sha256)

    @cached_property
    def id(self) -> str:
        """The digest of the identity."""
        return digest_identity(self.identity)

    def with_recipe(self, recipe: Recipe) -> "Training":
        """Return a training of its own with another recipe."""
        return replace(self, recipe=recipe, resume="strict", planned_hours=None)

    def describe(self, step: int = 0) -> ModelDescription:
        """Return the description of the model after `step`."""
        return ModelDescription(
            recipe=self.recipe,
            framework=self.framework,
            num_classes=len(self.manifest.classes),
            step=step,
            training_id=self.id,
            dataset_digest=self.manifest.digest,
            core_version=__version__,
        )

    def share_identity(self, ranks: Ranks) -> None:
        """Take the identity of the first rank, which alone reads the initial weights."""
        vars(self)["identity"] = ranks.on_first(lambda: self.identity)

    def check_out(self, out_dir: Location) -> list[dict[str, Any]] | None:
        """Check that a directory is outside of the data set; then see `check_directory`.

        Raises:
            UsageError: it is inside the data set, or holds something else.
            ModuleNotFoundError: the package of a tracker in `train.log` is missing.
        """
        check_trackers(self.recipe.train.log)
        check_outside(out_dir, self.data_dir, "data set")
        return check_directory(out_dir, self.identity, self.resume)

    def command(self, out_dir: Location, config: str) -> tuple[str, ...]:
        """Return the arguments of `ssd` that run this training in another process.

        Args:
            out_dir: directory of the training.
            config: path or URI of a file with the recipe.
        """
        where = ("--config", config, "--data", self.data_dir.uri, "--out", out_dir.uri)
        how = {"strict": (), "extend": ("--extend",)}.get(self.resume, ("--resume", self.resume))
        plan = () if self.planned_hours is None else ("--planned", str(self.planned_hours))
        place = ("--framework", self.framework, "--device", self.device)
        return ("train", *where, *how, *plan, *place)

    def finished(self, out_dir: Location) -> StageResult | None:
        """Return the result of this training if its complete model is in `out_dir`."""
        results = _read_finished(self, out_dir)
        return None if results is None else report("already trained:", results, out_dir)

    def run_once(self, out_dir: Location, start: Callable[[], None]) -> StageResult:
        """Return the result of this training; without one call `start`, which must produce it.

        Raises:
            DataError: `start` returned without producing the model.
        """
        if (result := self.finished(out_dir)) is None:
            start()
            result = self.finished(out_dir)
        if result is None:
            raise DataError(
                f"{out_dir}: the training processes ended without writing their model; run the "
                "same build of this package in all of them"
            )
        return result


def run(training: Training, out_dir: Location) -> StageResult:
    """Train a detector, or continue the same training after an interruption.

    Writes `checkpoints/`, `train_log.jsonl`, `model/`, and last `results.json`. A finished training
    returns immediately. In a store the log is uploaded with each checkpoint, so that any machine
    can continue.

    Raises:
        OwnershipError: `out_dir` holds another training.
        DivergedError: a loss or a weight is no longer finite.
        StoppedError: SIGTERM or Ctrl-C, after a checkpoint.
    """
    with open_ranks(training.framework) as ranks:
        if results := ranks.on_first(lambda: _read_finished(training, out_dir)):
            return report("already trained:", results, out_dir)
        reader = open_split(training.data_dir, "train")
        training.share_identity(ranks)
        ranks.on_first(lambda: training.check_out(out_dir))
        config, classes = training.recipe.train, training.manifest.classes
        backend = _open_backend(training, ranks)
        loader = open_loader(config, reader, ranks)
        learner = backend.learner(config, len(classes))
        evaluate = open_evaluation(training.recipe, training.data_dir, learner)
        initialize = cache(lambda: training.initial_weights.load(learner, config.model, classes))
        continues = ranks.on_first(lambda: _claim(training, out_dir, initialize))

        def work(folder: Path) -> Results:
            is_mirrored = out_dir.local is None and ranks.rank == 0
            log = MirroredFile(folder / LOG_FILE, out_dir) if is_mirrored else None
            checkpoints = _open_checkpoints(training, out_dir, continues, log)
            ids = [training.id, *(each["training_id"] for each in continues or ())]
            following = follow_training(config.log, folder / LOG_FILE, ids)
            with following if ranks.rank == 0 else nullcontext(()) as listeners:
                loop = Run(
                    config=config,
                    num_images=reader.num_images,
                    learner=learner,
                    batches=loader.batches,
                    name_images=loader.name_images,
                    checkpoints=checkpoints,
                    log_path=folder / LOG_FILE,
                    facts=_start_facts(training, ranks, backend.info, continues),
                    initialize=initialize,
                    take_over=lambda: record_owner(out_dir, training.identity, continues or []),
                    ranks=ranks,
                    listeners=listeners,
                    device_memory=backend.peak_memory,
                    evaluate=evaluate,
                )
                logger.info("%s, %s", loop.describe(), backend.info.name)
                _log_step(loop, training.recipe)
                state = _train(loop, log)
                return ranks.on_first(lambda: _keep(training, out_dir, loop, state, backend.info))

        results = run_stage(request(training), out_dir, work, ranks=ranks, in_place=True)
        return report("trained", results, out_dir)


def _claim(
    training: Training, out_dir: Location, initialize: Callable[[], object]
) -> list[dict[str, Any]] | None:
    """Claim the directory; initial weights that do not fit leave it as it is."""
    if training.check_out(out_dir) is None or is_empty(out_dir):
        initialize()
    return claim_directory(out_dir, training.identity, training.resume)


def _start_facts(
    training: Training, ranks: Ranks, device: DeviceInfo, continues: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return the facts about this start for its line of the log."""
    facts = {
        "training_id": training.id,
        "world_size": ranks.world_size,
        "device": asdict(device),
    }
    return facts | ({"continues": continues} if continues else {})


def _log_step(loop: Run, recipe: Recipe) -> None:
    """Log batch and learning rate, and the batch that the rate is for if the recipe has another."""
    logger.info("%s", loop.describe_step())
    named, given = RECIPES.get(recipe.name), recipe.train
    if named is None or given.optimizer.rate_batch_size is not None:
        return
    theirs = named().train
    rate, size = theirs.optimizer.learning_rate, theirs.batch_size
    if rate == given.optimizer.learning_rate and size != given.batch_size:
        logger.info("the recipe's %g is for %d images; add --scale-lr to scale it", rate, size)


def run_on_devices(training: Training, out_dir: Location, *, num_devices: int) -> StageResult:
    """Train as `run` does, with one process per device; a single device is used by this process.

    Raises:
        ProcessFailedError: a process failed after printing its error.
    """
    if num_devices == 1:
        return run(training, out_dir)

    def start() -> None:
        if code := launch(training, out_dir, Nodes(num_devices)):
            raise ProcessFailedError("a training process failed; see its error above", code)

    return training.run_once(out_dir, start)


def launch(training: Training, out_dir: Location, nodes: Nodes, *words: str) -> int:
    """Run `ssd train`, with more `words`, once per device; return the exit code.

    Raises:
        UsageError: the batch does not divide over the devices, or the framework has no ranks.
    """
    check_world_size(training.recipe.train, nodes.world_size)
    training.check_out(out_dir)  # before processes start, which takes seconds
    with tempfile.TemporaryDirectory(prefix="ssd-recipe-") as folder:
        config = Path(folder) / "recipe.json"
        config.write_text(training.recipe.model_dump_json())
        command = (*training.command(out_dir, str(config)), *words)
        return launch_ranks(training.framework, command, nodes)


def _read_finished(training: Training, out_dir: Location) -> Results | None:
    """Return the results of a finished training, and store its recipe if that has changed.

    The identity covers all that affects the weights; other sections may differ at a rerun.
    """
    if training.resume == "fresh" and training.check_out(out_dir) is None:
        return None
    model_dir = out_dir / MODEL_DIR
    try:
        description, results = read_description(model_dir), read_output(out_dir).results
    except (DataError, UsageError):
        return None
    if description.training_id != training.id or not is_whole(model_dir, description):
        return None
    labels = description.recipe.model_dump(include={"name", "description"})
    recipe = training.recipe.model_copy(update=labels)
    if recipe != description.recipe:
        write_description(model_dir, description.model_copy(update={"recipe": recipe}))
    return results


def request(training: Training) -> Invocation:
    """Return the request to train."""
    return Invocation(
        stage="train",
        config=training.recipe,
        inputs={"dataset": Input(training.data_dir.uri, training.manifest.digest)},
        options={
            "framework": training.framework,
            "device": training.device,
            "training_id": training.id,
        },
    )


def _open_backend(training: Training, ranks: Ranks) -> Backend:
    config = training.recipe.train
    backend = open_backend(training.framework, training.device, config.precision, ranks)
    if backend.info.precision == "fp16" and config.loss_scale.start == 1:
        logger.warning(
            "train.precision=fp16 loses small gradients without a scale of the loss; set "
            "train.loss_scale.start=65536 and train.loss_scale.growth_interval=2000"
        )
    return backend


def _open_checkpoints(
    training: Training,
    out_dir: Location,
    continues: list[dict[str, Any]] | None,
    log: MirroredFile | None,
) -> CheckpointDir:
    return CheckpointDir(
        out_dir / CHECKPOINT_DIR,
        training.describe(),
        training.manifest.classes,
        keep=training.recipe.train.keep_checkpoints,
        continues=None if continues is None else [each["training_id"] for each in continues],
        log=log,
    )


def _train(run: Run, log: MirroredFile | None) -> TrainState:
    """Train; if it diverges, upload the log, which shows the cause."""
    try:
        return train(run)
    except DivergedError:
        if log is not None:
            log.publish()
        raise


def _keep(
    training: Training, out_dir: Location, loop: Run, state: TrainState, device: DeviceInfo
) -> Results:
    description = training.describe(state.best_step or state.step)
    results = keep_model(out_dir, description, training.manifest.classes, loop, state)
    planned = training.planned_hours and 3600 * training.planned_hours
    return results | {"planned_seconds": planned, "environment": describe_environment(device)}
