"""The files in which processes count: one of each kind a process, named after its host and number."""

import os
import re
from pathlib import Path

from django.conf import settings


def forget_dead_processes(*, starting: int | None = None) -> None:
    """Remove what this host's dead processes said of live things, such as open connections; their counts stay.

    `starting` begins anew under its number: what is said in its name is an earlier process's.
    """
    for path in Path(settings.ENVIRONMENT_METRICS_DIR).glob("gauge_live*.db"):
        process_id = _process_of(path)
        if process_id is not None and (process_id == starting or not _is_alive(process_id)):
            path.unlink(missing_ok=True)


def is_of_living_process(path: Path) -> bool:
    """Whether what is counted in this file is by a process that lives, on this host."""
    process_id = _process_of(path)
    return process_id is not None and _is_alive(process_id)


def _process_of(path: Path) -> int | None:
    """None where it is another host's."""
    name = re.fullmatch(rf"[a-z_]+_{re.escape(settings.METRICS_HOST)}-(\d+)\.db", path.name)
    return int(name[1]) if name else None


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user
    return True
