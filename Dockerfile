# The operator's image, from a clone of this repository and nothing else:
#
#   docker build -t rollback-operator .   # or: buildah bud -t rollback-operator .
#
# BASE_IMAGE is any image with Python 3.11, its venv module and libstdc++ (google-re2 is C++); both stages must use
# the same.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# Where pip finds packages, if not in its usual place: a mirror, the mirror's authority, or a mounted folder of wheels.
ARG PIP_INDEX_URL=""
ARG PIP_CERT=""
ARG PIP_NO_INDEX=""
ARG PIP_FIND_LINKS=""
# Sets end up in bytecode, in an order that each process draws for itself otherwise.
ENV PYTHONHASHSEED=0
# pip stays in an environment of its own: the one that is shipped holds only what runs.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/venv
WORKDIR /source
COPY pyproject.toml README.md ./
COPY operator operator
RUN /pip/bin/pip --disable-pip-version-check --no-cache-dir wheel --quiet --wheel-dir /wheels .
RUN /pip/bin/pip --disable-pip-version-check --no-cache-dir --python /opt/venv/bin/python \
      install --quiet --no-index --find-links=/wheels --no-compile rollback-operator
# A read-only root cannot keep bytecode, and without it a start takes twice the time and memory.
# Hash-based and unchecked: builders rewrite the files' times, which would outdate the usual kind.
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${BASE_IMAGE}
# The same for the standard library, which public Python images ship without bytecode.
RUN library="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && { [ -d "$library/__pycache__" ] || PYTHONHASHSEED=0 python3 -m compileall -q -j 0 \
        --invalidation-mode unchecked-hash -x '/(test|tests|idlelib|lib2to3|site-packages)/' \
        "$library"; }
COPY --from=build /opt/venv /opt/venv
# An image whose program cannot be loaded is no image.
RUN /opt/venv/bin/rollback-operator --help > /dev/null
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title=rollback-operator \
      org.opencontainers.image.description="Takes bad releases of Kubernetes Deployments back" \
      org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/rollback-operator"]
CMD ["run"]
