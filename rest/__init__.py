"""The lean floor under every REST view: async viewsets, exact JSON, cursors, errors. Knows nothing of trading."""
