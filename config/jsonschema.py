"""The JSON Schema of `county.yaml`, for editors: completion, descriptions, and the errors it can see.

What it cannot see (rules between sections, addresses, durations out of range, files on the machine)
`config.load` still refuses; nothing that `config.load` accepts is refused here.
"""

from __future__ import annotations

import json
from typing import Any

from config.schema import Config


def json_schema() -> dict[str, Any]:
    """Draft 2020-12."""
    body = _without_null(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "title": "Fenghuo county.yaml"}


def render() -> str:
    """The schema as the text of `config/county.schema.json`."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _without_null(node: Any) -> Any:
    """The loader refuses an empty value, so an option that may be absent is still never null."""
    if isinstance(node, list):
        return [_without_null(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    cleaned = {k: _without_null(v) for k, v in node.items() if not (k == "default" and v is None)}
    if "anyOf" in cleaned and len(cleaned["anyOf"]) == 1:
        (only,) = cleaned.pop("anyOf")
        cleaned = {**only, **cleaned}
    return cleaned
