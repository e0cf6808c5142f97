# The gateway on port 8080, its data under /data: see compose.yaml.
# The command line as well: `docker run --rm -i surgate check - --pack packs/wahh < order.json`
# Everything that is installed is pinned with its hash by the lock files, what builds the wheel too.
FROM python:3.11-slim AS built
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements-build.lock requirements.lock ./
RUN python -m venv /tools && /tools/bin/pip install --require-hashes -r requirements-build.lock
RUN python -m venv --without-pip /venv && /tools/bin/pip --python /venv/bin/python install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY app ./app
COPY packs ./packs
COPY migrations ./migrations
COPY docs/example-order.json ./docs/
RUN /tools/bin/python -m hatchling build -t wheel -d dist \
    && /tools/bin/pip --python /venv/bin/python install --no-index --no-deps dist/*.whl

FROM python:3.11-slim
ENV PYTHONUNBUFFERED=1 PATH=/venv/bin:$PATH SURGATE_HOST=0.0.0.0 SURGATE_PORT=8080 SURGATE_VAR_DIR=/data
COPY --from=built /venv /venv
WORKDIR /srv/surgate
RUN useradd --system --uid 10001 --no-create-home surgate \
    && install --directory --owner=surgate --mode=0700 /data \
    && ln -s "$(python -c 'from app.packs.load import SHIPPED_PACKS; print(SHIPPED_PACKS)')" packs
USER 10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SURGATE_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["surgate"]
CMD ["serve"]
