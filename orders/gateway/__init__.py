"""The API's end of the command stream: appends commands in batches, and waits for their replies."""

from orders.gateway.gateway import (
    GatewayReply,
    OrderGateway,
    RefusedByQueue,
    Submission,
    current_gateway,
)

__all__ = ["GatewayReply", "OrderGateway", "RefusedByQueue", "Submission", "current_gateway"]
