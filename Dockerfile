# The gateway on port 8080, its data under /data: see compose.yaml.
# The command line as well: `docker run --rm -i surgate check - --pack packs/wahh < order.json`
FROM python:3.11-slim AS built
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /srv/surgate
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY app ./app
COPY packs ./packs
COPY migrations ./migrations
COPY docs ./docs
# The version and the command `surgate`; the code itself is read from here, with packs and migrations beside it.
RUN /venv/bin/pip install --quiet hatchling editables && /venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && /venv/bin/pip uninstall --quiet --yes hatchling editables && /venv/bin/python -m compileall -q app

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH SURGATE_HOST=0.0.0.0 SURGATE_PORT=8080 SURGATE_VAR_DIR=/data
COPY --from=built /venv /venv
COPY --from=built /srv/surgate /srv/surgate
WORKDIR /srv/surgate
RUN useradd --system --uid 10001 --no-create-home surgate && install --directory --owner=surgate --mode=0700 /data
USER surgate
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SURGATE_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["surgate"]
CMD ["serve"]
