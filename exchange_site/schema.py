"""What the OpenAPI schema says about the site's own views."""

from typing import Any

HEALTH: dict[str, Any] = {}
