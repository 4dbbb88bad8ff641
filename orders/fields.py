"""The rules of the fields that several requests and documents share, with their JSON schemas."""

import re
from typing import Annotated

from base.documents import described, one_of
from instruments.choices import OrderType, SelfTradePrevention, TimeInForce
from orders.models import OrderSide, OrderStatus, Reason

CLIENT_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
CLIENT_ID_RULE = "1 to 64 characters of A-Z a-z 0-9 . _ : - are required."
ORDER_ID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
SYMBOL_CHARACTERS_MAX = 64  # in a request; longer text can't be a symbol

ClientId = Annotated[str, described(pattern=f"^{CLIENT_ID_PATTERN.pattern}$", example="client-A")]
SideName = Annotated[str, one_of(OrderSide.values)]
OrderTypeName = Annotated[str, one_of(OrderType.values)]
TimeInForceName = Annotated[str, one_of(TimeInForce.values)]
SelfTradePreventionName = Annotated[str, one_of(SelfTradePrevention.values)]
StatusName = Annotated[str, one_of(OrderStatus.values)]
ReasonName = Annotated[str, one_of(Reason.values)]
TakerSide = Annotated[str, described(enum=OrderSide.values, description="the taker's side")]
