"""The JSON API under every view: request handler, async viewsets, JSON, cursors, errors. Knows nothing of trading."""
