"""What Kubeflow Pipelines takes and answers: models, pipelines, parameters."""

import re
from datetime import datetime
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from kfp.pipeline_spec import pipeline_spec_pb2
from kfp_server_api import models

Json = dict[str, Any]
KINDS = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "STRUCT": dict,
    "LIST": list,
}


class Refused(Exception):  # noqa: N818
    """What is asked for is refused, with an HTTP status and a code of gRPC."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def check_pipeline(wanted: Json) -> None:
    """Refuse a pipeline that is none, and arguments that do not fit its parameters."""
    content = wanted["pipeline_spec"]
    specification = content.get("pipeline_spec", content)
    try:
        ParseDict(specification, pipeline_spec_pb2.PipelineSpec())
        ParseDict(content.get("platform_spec", {}), pipeline_spec_pb2.PlatformSpec())
    except ParseError as error:
        raise Refused(400, 3, f"Invalid input error: {error}") from error
    parameters = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    given = wanted.get("runtime_config", {}).get("parameters", {})
    for name, parameter in parameters.items():
        is_optional = parameter.get("isOptional") or "defaultValue" in parameter
        if name not in given and not is_optional:
            raise Refused(400, 3, f"Invalid input error: parameter {name} is required")
    for name, value in given.items():
        kind = KINDS.get(parameters.get(name, {}).get("parameterType", ""))
        if kind is None or not isinstance(value, kind):
            raise Refused(400, 3, f"Invalid input error: parameter {name} does not fit: {value!r}")


def asked(body: Json, kind: str) -> Json:
    """Return a request that fits its model."""
    try:
        return checked(body, kind)
    except ValueError as error:
        raise Refused(400, 3, f"Invalid input error: {error}") from error


def checked(content: Any, kind: str) -> Any:
    """Return what fits a model of `kfp_server_api` or a type that its models name.

    Raises:
        ValueError: it does not.
    """
    if inner := re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", kind):
        items = content if inner[1] else content.values()
        for item in items:
            checked(item, inner[1] or inner[2])
    elif kind == "datetime":
        datetime.fromisoformat(content.replace("Z", "+00:00"))
    elif kind != "object":
        check_model(content, kind)
    return content


def check_model(content: Any, kind: str) -> None:
    """Check a plain value, a word of an enumeration, or an object and all it holds."""
    plain = {"str": str, "bool": bool, "int": int}
    if kind in plain:
        if type(content) is not plain[kind]:
            raise ValueError(f"{content!r} is no {kind}")
        return
    model = getattr(models, kind)
    if allowed := getattr(model, "allowable_values", None):
        if content not in allowed:
            raise ValueError(f"{content!r} is no {kind}")
        return
    types = {model.attribute_map[name]: each for name, each in model.openapi_types.items()}
    for name, value in content.items():
        if name not in types:
            raise ValueError(f"{kind} has no field {name}")
        checked(value, types[name])
