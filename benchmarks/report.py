"""Prints the heading of every benchmark, and charts of its figures."""

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

_CHART_WIDTH = 60


def print_heading(program: str, packages: Sequence[str]) -> None:
    """Print the machine, the versions and the command."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"machine   {processor()}, {platform.system()} {platform.release()}")
    print(f"versions  {platform.python_implementation()} {platform.python_version()}, {versions}")
    print(f"command   {' '.join([program, *sys.argv[1:]])}\n")


def processor() -> str:
    """Return the processor's name according to the kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()


def print_chart(title: str, values: Mapping[str, float], unit: str) -> None:
    """Print a bar for each value, from 0 to the greatest."""
    print(f"\n{title}")
    greatest = max(values.values()) or 1.0
    width = max(map(len, values))
    for name, value in values.items():
        bar = "█" * round(_CHART_WIDTH * value / greatest)
        print(f"  {name:<{width}}  {bar:<{_CHART_WIDTH}} {value:,.{0 if value >= 100 else 2}f} {unit}")
