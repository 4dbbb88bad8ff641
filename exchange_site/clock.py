"""GET /time: the exchange's clock, with which clients compare their own.

It is the clock of the machine that this API process runs on. Nothing is read, so the answer is as
fresh as the network allows. The order of events does not depend on this clock.
"""

from datetime import UTC, datetime

from rest_framework.request import Request

from base.times import time_text, unix_milliseconds
from exchange_site import schema
from web.content import JSONResponse
from web.schema import operation
from web.viewset import AsyncViewSet


class TimeViewSet(AsyncViewSet):
    """The exchange's clock."""

    @operation(**schema.TIME)
    async def list(self, request: Request) -> JSONResponse:
        """Return the time now, as text and in milliseconds."""
        now = datetime.now(UTC)
        return JSONResponse({"time": time_text(now), "milliseconds": unix_milliseconds(now)})
