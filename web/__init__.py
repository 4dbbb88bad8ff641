"""The base of every view of the JSON API: request handler, viewsets, JSON, cursors, errors.

Nothing here depends on trading.
"""
