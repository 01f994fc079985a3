"""Names for values that are read from JSON or written as JSON."""

from typing import Any

JsonObject = dict[str, Any]
