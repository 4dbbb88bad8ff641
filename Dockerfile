# One image for everything of ours: the API (the default), the matching worker, migrations and operators' commands.
# PostgreSQL and Redis come from elsewhere: see docker-compose.yml and docs/operations.md.

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt LICENSE ./
# README.md is metadata only: an empty one keeps this layer when the text changes. Wheels only: there is no compiler.
RUN touch README.md \
    && python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --only-binary :all: -c constraints.txt .

FROM python:3.13-slim-bookworm
RUN groupadd --gid 10001 exchange \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin exchange \
    && install --directory --owner=10001 --group=10001 --mode=0755 \
        /var/lib/exchange/secrets /var/lib/exchange/metrics
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EXCHANGE_BIND=0.0.0.0 \
    EXCHANGE_METRICS_DIR=/var/lib/exchange/metrics
WORKDIR /app
COPY manage.py ./
COPY rest rest
COPY orders orders
COPY marketdata marketdata
COPY matching matching
COPY operators operators
COPY loadtools loadtools
COPY exchange_site exchange_site
RUN python -m compileall -q .
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Healthy: the database, Redis and a matching worker for every partition answer as well.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=4)"]
CMD ["python", "manage.py", "run_api"]
