"""The embedded PostgreSQL allows a connection for each database thread of an API process."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]

# Threads that read the database are made in two places, with the prefixes `database` and `page`.
COUNT = """
from concurrent.futures import ThreadPoolExecutor

made = []
make = ThreadPoolExecutor.__init__

def count(self, max_workers=None, thread_name_prefix="", **options):
    made.append((thread_name_prefix, max_workers))
    make(self, max_workers, thread_name_prefix, **options)

ThreadPoolExecutor.__init__ = count
import exchange_site.asgi
import exchange_site.urls
print(sum(threads for name, threads in made if name in ("database", "page")))
"""


def test_an_api_process_has_no_more_database_threads_than_settings_count() -> None:
    process = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) == settings.DATABASE_CONNECTIONS_PER_API_PROCESS
