# The engine and its command line: `docker run --rm -i surgate check - --pack packs/wahh < order.json`
FROM python:3.11-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv/surgate
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY app ./app
COPY packs ./packs
RUN useradd --system --no-create-home surgate
USER surgate
ENTRYPOINT ["python", "-m", "app"]
