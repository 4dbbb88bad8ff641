"""The REST view of instruments."""

from rest_framework.request import Request

from instruments import schema
from instruments.directory import directory
from instruments.documents import instrument_document
from web.content import JSONResponse
from web.schema import operation
from web.viewset import AsyncViewSet


class InstrumentViewSet(AsyncViewSet):
    """The instruments of the exchange."""

    @operation(**schema.LIST_INSTRUMENTS)
    async def list(self, request: Request) -> JSONResponse:
        """All instruments with their grids and limits."""
        instruments = (await directory.all()).values()
        documents = [
            instrument_document(instrument)
            for instrument in sorted(instruments, key=lambda instrument: instrument.symbol)
        ]
        return JSONResponse({"instruments": documents, "next_cursor": None})
