# One image for every role: web, worker, beat and the commands. Nothing is collected or compiled on
# start; static files are served from the source. See docs/operating.md.

FROM python:3.11-slim-bookworm AS build
# What is installed; requirements-otel.lock has what traces need, too.
ARG REQUIREMENTS=requirements.lock
WORKDIR /app
COPY requirements.lock requirements-otel.lock ./
RUN python -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary :all: -r ${REQUIREMENTS}

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chatd \
    && install -d -o chatd -m 700 /data /backups
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY LICENSE manage.py ./
COPY config config
COPY chatd chatd
COPY static static
COPY templates templates
COPY deploy/healthcheck.py deploy/healthcheck.py
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CHATD_DATA=/data \
    CHATD_LOG_FORMAT=json
RUN python -m compileall -q config chatd
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "deploy/healthcheck.py", "http://127.0.0.1:8000/readyz"]
CMD ["python", "manage.py", "up", "--host", "0.0.0.0"]
