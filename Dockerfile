# One image for everything of ours: the API (the default), the matching worker, migrations and operators' commands.
# PostgreSQL and Redis come from elsewhere: see docker-compose.yml and docs/operations.md.
#
# The exact version is one that the test suite has passed on. Debian's fixes come with a newer tag: change both lines.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt LICENSE ./
# README.md is metadata only: an empty one keeps this layer when the text changes. Wheels only: there is no compiler.
RUN touch README.md \
    && python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --only-binary :all: -c constraints.txt .

FROM python:3.11.14-slim-bookworm
# The base image has no compiled standard library, and nobody can write one at run time: each start, and each health
# check, would compile it again.
RUN groupadd --gid 10001 exchange \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin exchange \
    && install --directory --owner=10001 --group=10001 --mode=0755 \
        /var/lib/exchange/secrets /var/lib/exchange/secrets/postgres /var/lib/exchange/secrets/redis \
        /var/lib/exchange/secrets/roles /var/lib/exchange/secrets/migrate /var/lib/exchange/secrets/matching \
        /var/lib/exchange/secrets/web /var/lib/exchange/metrics \
    && python -m compileall -q -x '/(test|idlelib|lib2to3|turtledemo|site-packages)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    EXCHANGE_BIND=0.0.0.0 \
    EXCHANGE_METRICS_DIR=/var/lib/exchange/metrics
WORKDIR /app
COPY manage.py ./
COPY base base
COPY web web
COPY instruments instruments
COPY orders orders
COPY marketdata marketdata
COPY streaming streaming
COPY matching matching
COPY hosting hosting
COPY operators operators
COPY loadtools loadtools
COPY exchange_site exchange_site
# A checkout with umask 077 is readable for root alone. (pip's files are readable; to change them would copy them all.)
RUN chmod -R a+rX /app && python -m compileall -q . /opt/venv/lib
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# No HEALTHCHECK: what is to be asked depends on the command. docker-compose.yml has one for each service.
CMD ["python", "manage.py", "run_api"]
