"""The endpoint's description of itself, for /openapi.json: `openapi.json` with the limits that it was started with."""

import json
from pathlib import Path


def page(max_rows: int, max_bytes: int, guarded: bool) -> bytes:
    """Return the OpenAPI document.

    Args:
        max_rows: texts of a request that are allowed.
        max_bytes: bytes of a request that are allowed.
        guarded: whether an API key is asked for.
    """
    text = Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")
    document = json.loads(text.replace('"MAX_ROWS"', str(max_rows)).replace("MAX_BYTES", f"{max_bytes:,}"))
    if not guarded:
        del document["components"]["securitySchemes"], document["security"]
        for path in document["paths"].values():
            for operation in path.values():
                operation.pop("security", None)
                operation["responses"].pop("401", None)
    return json.dumps(document, indent=1).encode()
