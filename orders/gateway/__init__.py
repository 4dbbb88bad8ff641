"""The API's end of the stream: commands go in, many at a time, and wait here for their replies."""

from orders.gateway.gateway import Answer, NotTaken, OrderGateway, current_gateway

__all__ = ["Answer", "NotTaken", "OrderGateway", "current_gateway"]
