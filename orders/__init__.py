"""Orders from the client's side: models, validation, and the gateway to the stream that the matching worker reads.

Nothing here knows how orders are matched.
"""
