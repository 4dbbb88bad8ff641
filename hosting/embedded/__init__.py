"""A real PostgreSQL and a real Valkey out of pip wheels, for machines that have neither."""
