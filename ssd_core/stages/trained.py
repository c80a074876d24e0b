"""The end of a training: its model, its results, and how they are reported."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssd_core.logs import announce, format_count, format_duration
from ssd_core.metrics import METRICS
from ssd_core.model_dir import MODEL_DIR, ModelDescription, write_model
from ssd_core.stages.frame import Results
from ssd_core.store import Location
from ssd_core.structures import ClassInfo, StageResult
from ssd_core.train_log import parse_log
from ssd_core.training.checkpoints import TrainState
from ssd_core.training.run import Run


def keep_model(
    out_dir: Location,
    description: ModelDescription,
    classes: Sequence[ClassInfo],
    loop: Run,
    state: TrainState,
) -> Results:
    """Write the model directory and return the results of its training.

    Raises:
        TakenOverError: a newer attempt at this training writes it.
    """
    loop.checkpoints.check_newest()
    weights = state.best_weights or loop.learner.weights()
    write_model(out_dir / MODEL_DIR, description, classes, weights)
    first, *_, end = parse_log(loop.log_path.read_bytes(), loop.log_path)
    return {
        "metrics": {
            "loss": state.loss,
            "images_per_second": end["images_per_second"],
            **state.best_metrics,
        },
        "steps": state.step,
        "warm_up_steps": end["warm_up_steps"],
        "samples": state.samples,
        "seconds": state.seconds,
        "best_step": state.best_step,
        "best_metric": loop.config.best_metric,
        "init": first.get("init"),
        "model": description.summary(),
    }


def report(outcome: str, results: Mapping[str, Any], out_dir: Location) -> StageResult:
    """Print the result of a training, and return it; `outcome` is the verb of the sentence."""
    metrics = results["metrics"]
    kept = "the last step"
    if step := results["best_step"]:
        name = results["best_metric"]
        kept = f"step {step}, the best with {METRICS[name].describe(metrics[name])}"
    speed = METRICS["images_per_second"].describe(metrics["images_per_second"])
    if left_out := results.get("warm_up_steps"):
        speed += f" without {format_count(left_out, 'step')} of warm-up"
    announce(
        "%s %s in %s, %s, %s; the model is that of %s",
        outcome,
        format_count(results["steps"], "step"),
        format_duration(results["seconds"]),
        speed,
        METRICS["loss"].describe(metrics["loss"]),
        kept,
    )
    if planned := results.get("planned_seconds"):
        taken = format_duration(results["seconds"])
        change = 100 * (results["seconds"] / planned - 1)
        announce("planned %s, took %s: %+.0f %%", format_duration(planned), taken, change)
    return StageResult(
        metrics=metrics,
        metadata={
            "uri": out_dir.uri,
            "training_id": results["model"]["training_id"],
            "steps": results["steps"],
            "device": results["environment"]["device_name"],
        },
    )
