# The inference server with the model package, without a model: model.Dockerfile adds one.
# From the repository's root: docker build --file environment_setup/images/scoring.Dockerfile --tag scoring .
# An exact tag. CI replaces it by the digest that it has checked: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11.14-slim-trixie

FROM ${BASE} AS packages
COPY requirements/scoring.txt /requirements/scoring.txt
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement /requirements/scoring.txt

FROM ${BASE}
# LightGBM's OpenMP. Debian's mirrors keep only the newest build of a package, so its version is the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/venv /opt/venv
COPY insurance_claims /app/insurance_claims
# As ml_service/platforms/local/serving_command.py has it. HOME: the user has none, and the root file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AML_APP_ROOT=/app \
    AZUREML_ENTRY_SCRIPT=/app/insurance_claims/scoring/score.py \
    SCORING_TIMEOUT_MS=30000 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    AML_APP_INSIGHTS_ENABLED=false \
    AML_CORS_ORIGINS= \
    AZUREML_CONFIG_FILE= \
    AZUREML_SOURCE_DIRECTORY= \
    GUNICORN_CMD_ARGS=
WORKDIR /app
USER 10001:10001
EXPOSE 5001
HEALTHCHECK --start-period=120s --interval=10s --timeout=5s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5001/', timeout=4)"]
CMD ["python", "-m", "gunicorn", "azureml_inference_server_http.server.entry:app", \
    "--bind", "0.0.0.0:5001", "--workers", "1", "--worker-class", "sync", \
    "--timeout", "150", "--graceful-timeout", "30", "--chdir", "/app", "--error-logfile", "/dev/null"]
