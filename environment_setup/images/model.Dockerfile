# One model version in the scoring image. The context is its folder, as the registry gives it:
# docker build --file environment_setup/images/model.Dockerfile --build-arg SCORING=scoring@sha256:... --build-arg VERSION=3 FOLDER
# No default: whoever builds says which scoring image, by digest.
ARG SCORING

# hadolint ignore=DL3006
FROM ${SCORING}
ARG VERSION
COPY model.txt model.json /models/insurance_claims/${VERSION}/
# Fails here, not in the cluster, where VERSION is missing or is no number.
RUN test "${VERSION}" -gt 0
ENV AZUREML_MODEL_DIR=/models/insurance_claims/${VERSION}
LABEL model.name=insurance_claims model.version=${VERSION}
USER 10001:10001
