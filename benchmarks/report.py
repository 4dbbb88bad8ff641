"""What every benchmark prints: where and with what it was run, and its figures as a chart."""

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

CHART_WIDTH = 60


def print_heading(program: str, packages: Sequence[str]) -> None:
    """Machine, versions and command."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"machine   {processor()}, {platform.system()} {platform.release()}")
    print(f"versions  {platform.python_implementation()} {platform.python_version()}, {versions}")
    print(f"command   {' '.join([program, *sys.argv[1:]])}\n")


def processor() -> str:
    """The processor's name as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()


def print_chart(title: str, values: Mapping[str, float], unit: str) -> None:
    """A bar for each value, from 0 to the greatest."""
    print(f"\n{title}")
    greatest = max(values.values()) or 1.0
    width = max(map(len, values))
    for name, value in values.items():
        bar = "█" * round(CHART_WIDTH * value / greatest)
        print(f"  {name:<{width}}  {bar:<{CHART_WIDTH}} {value:,.{0 if value >= 100 else 2}f} {unit}")
