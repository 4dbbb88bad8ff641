"""Loads modules of examples/python, which are no package: users take the files as they are."""

import importlib.util
import sys
from typing import Any

from tests.system.exchange import ROOT


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / "python" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    # The modules import each other by these names.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


exchange_client = _load("exchange_client")
order_stream = _load("order_stream")
market_maker = _load("market_maker")
trailing_stop = _load("trailing_stop")
timed_order = _load("timed_order")
demo_bots = _load("demo_bots")
demo = _load("demo")
