"""Finds orders by client id and idempotency key, with one index entry for each pair.

The comparison of row values and the limit leave PostgreSQL one index, `order_idempotency_key`. With
plain equalities it may also take `order_list_by_client`, and read all orders of the client: if its
statistics say that a client has one order on average, both indexes seem to cost the same.
"""

# The rest of a SELECT of columns of `found`. Parameters: `client_ids` and `keys`, arrays of the
# same length.
FOUND_BY_KEY = """
FROM unnest(%(client_ids)s::varchar[], %(keys)s::varchar[]) AS wanted (client_id, key)
CROSS JOIN LATERAL (
  SELECT * FROM orders_order AS stored
  WHERE stored.idempotency_key IS NOT NULL
    AND (stored.client_id, stored.idempotency_key) >= (wanted.client_id, wanted.key)
  ORDER BY stored.client_id, stored.idempotency_key LIMIT 1
) AS found
WHERE found.client_id = wanted.client_id AND found.idempotency_key = wanted.key
"""
