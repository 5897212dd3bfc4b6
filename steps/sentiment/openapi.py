"""The endpoint's description of itself, for /openapi.json: `openapi.json` with the limits that it was started with."""

import json
from collections.abc import Sequence
from pathlib import Path


def page(max_rows: int, max_bytes: int, guarded: bool, versions: Sequence[str]) -> bytes:
    """Return the OpenAPI document.

    Args:
        max_rows: texts of a request that are allowed.
        max_bytes: bytes of a request that are allowed.
        guarded: whether an API key is asked for.
        versions: of the model that can be asked.
    """
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    text = text.replace('"MAX_ROWS"', str(max_rows)).replace('"VERSIONS"', json.dumps(list(dict.fromkeys(versions))))
    document = json.loads(text.replace("MAX_BYTES", f"{max_bytes:,}"))
    if not guarded:
        del document["components"]["securitySchemes"], document["security"]
        for path in document["paths"].values():
            for operation in path.values():
                operation.pop("security", None)
                operation["responses"].pop("401", None)
    return json.dumps(document, indent=1).encode()
