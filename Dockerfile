# One image for the exchange's own processes: the API (the default), the matching worker, migrations
# and operators' commands. PostgreSQL and Redis have other images: see docker-compose.yml.
#
# The test suite has passed on this version. A newer tag has Debian's fixes: change both FROM lines.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt LICENSE ./
# pip reads README.md only as metadata. With an empty file this layer stays cached when the text
# changes. Only wheels are installed, because there is no compiler.
RUN touch README.md \
    && python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --only-binary :all: -c constraints.txt .

FROM python:3.11.14-slim-bookworm
# The base image has no bytecode of the standard library, and the exchange's user can't write any.
# Without `compileall` each start and each health check would compile the library again.
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
COPY screen screen
COPY instruments instruments
COPY orders orders
COPY marketdata marketdata
COPY streaming streaming
COPY matching matching
COPY hosting hosting
COPY operators operators
COPY loadtools loadtools
COPY exchange_site exchange_site
# Only root can read files of a checkout with umask 077. pip's files are readable already, and
# changing them would copy them all into this layer.
RUN chmod -R a+rX /app && python -m compileall -q . /opt/venv/lib
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# No HEALTHCHECK, because each command needs another one: docker-compose.yml has them.
CMD ["python", "manage.py", "run_api"]
