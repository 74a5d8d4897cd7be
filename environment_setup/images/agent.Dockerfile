# A build agent's tools, and every locked package in uv's cache: `make test` installs from there within seconds.
# From the repository's root: docker build --file environment_setup/images/agent.Dockerfile --tag agent .
ARG BASE=python:3.11.14-slim-trixie

FROM ${BASE}
# Debian's mirrors keep only the newest build of a package, so its version is the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git libgomp1 make nodejs npm \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home agent \
    && install --directory --owner agent /opt/uv-cache
COPY requirements/uv.txt requirements/test.txt /requirements/
ENV UV_CACHE_DIR=/opt/uv-cache \
    UV_LINK_MODE=copy
USER 10001:10001
RUN python -m venv --without-pip /home/agent/warm \
    && pip --python /home/agent/warm/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement /requirements/uv.txt \
    && /home/agent/warm/bin/uv pip install --python /home/agent/warm/bin/python \
        --only-binary :all: --require-hashes --requirement /requirements/test.txt \
    && rm -rf /home/agent/warm
WORKDIR /home/agent
CMD ["bash"]
