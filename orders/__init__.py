"""Orders from the client's side: models, validation, REST views, and the gateway to the workers.

The gateway appends commands to a stream. The matching worker reads the stream. Nothing here depends
on how orders are matched.
"""
