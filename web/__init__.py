"""Under every view of the JSON API: request handler, viewsets, JSON, cursors, errors. Knows nothing of trading."""
