# The image of model-eval: evaluates in a sandbox, and publishes in another.
#
#   docker build --build-arg TORCH_INDEX_URL=… -t model-eval:local .   # the index of PyTorch's CPU builds
#   docker build --build-arg VARIANT=cuda -t model-eval:local-cuda .
#   wheels/fill.sh && docker build --network none -t model-eval:local .
#
# wheels/README.md has the build without a network. Only features of the BuildKit inside Docker 20.10
# are used, and no `syntax` line: nothing but the base image is pulled.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# ---- dependencies: a virtual environment in /opt/venv ------------------------------------------
# BASE_IMAGE can be given with a digest; its default cannot have one that every builder knows.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS dependencies
ARG VARIANT=cpu
ARG TORCH_VERSION=2.13.0
ARG TORCH_INDEX_URL=

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/sh", "-euc"]

# The wheels are mounted, never a layer. pip lives in /opt/build and installs into /opt/venv. CUDA's
# libraries are torch's own dependencies, pinned by its metadata; all else is in requirements.lock.
# image/slim.py removes what no evaluation uses, and says of each why. Bytecode is compiled here, because
# the image runs read-only: without it every run would compile torch again. What cannot work without a
# C++ compiler is not: torch._inductor, setuptools.
# hadolint ignore=DL3042,SC2086
RUN --mount=type=bind,source=wheels,target=/wheels \
    --mount=type=bind,source=requirements.lock,target=/requirements.lock \
    --mount=type=bind,source=requirements-build.lock,target=/requirements-build.lock \
    --mount=type=bind,source=image/slim.py,target=/slim.py \
    case "$VARIANT" in \
        cpu|cuda) ;; \
        *) echo "VARIANT is '$VARIANT'; it is cpu or cuda" >&2; exit 2 ;; \
    esac; \
    from=; torch_from=; \
    if ls /wheels/*.whl >/dev/null 2>&1; then \
        from="--no-index --find-links /wheels"; torch_from="$from"; \
    elif [ -n "$TORCH_INDEX_URL" ]; then \
        torch_from="--index-url $TORCH_INDEX_URL"; \
    elif [ "$VARIANT" = cpu ]; then \
        echo "no CPU build of torch: the default index has CUDA builds, which are several GB larger;" \
            "pass --build-arg TORCH_INDEX_URL=<the index of PyTorch's CPU builds>, or fill wheels/" \
            "(see wheels/README.md), or pass --build-arg VARIANT=cuda" >&2; \
        exit 2; \
    fi; \
    no_deps=--no-deps; [ "$VARIANT" = cpu ] || no_deps=; \
    python3 -m venv /opt/build; \
    python3 -m venv --without-pip /opt/venv; \
    pip="/opt/build/bin/pip --quiet"; \
    $pip install $from --no-deps --require-hashes -r /requirements-build.lock; \
    $pip --python /opt/venv/bin/python install $torch_from $no_deps "torch==$TORCH_VERSION"; \
    $pip --python /opt/venv/bin/python install $from --no-deps --require-hashes -r /requirements.lock; \
    site="$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"; \
    rm -rf /opt/venv/bin/activate* /opt/venv/bin/Activate.ps1; \
    python3 -I /slim.py "$site"; \
    /opt/venv/bin/python -m compileall -q -j 0 -x 'torch/testing/_internal|torch/_inductor|site-packages/setuptools' \
        --invalidation-mode unchecked-hash "$site"

# ---- package: model_eval alone, a layer of its own, so that a change of it moves kilobytes -------
FROM dependencies AS package
COPY pyproject.toml README.md LICENSE /src/
COPY entrypoint/model_eval /src/entrypoint/model_eval
COPY schemas /src/schemas
WORKDIR /src
# The second install is there for `pip check`: does requirements.lock fit pyproject.toml?
RUN pip="/opt/build/bin/pip --quiet --python /opt/venv/bin/python"; \
    /opt/build/bin/python -m hatchling build -t wheel -d /tmp/dist; \
    $pip install --no-index --no-deps --prefix /opt/package /tmp/dist/*.whl; \
    $pip install --no-index --no-deps /tmp/dist/*.whl; \
    $pip check; \
    /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/package

# ---- the image -------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /opt/package /opt/venv

# The root file system is read-only and the user has no entry in passwd: whatever a library wants to
# cache goes to /tmp, and USER answers getpass.getuser(). NVIDIA_* ask the NVIDIA runtime for the
# driver's libraries; without --gpus they do nothing.
ENV HOME=/tmp \
    USER=model-eval \
    LANG=C.UTF-8 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor \
    TORCH_HOME=/tmp/torch \
    TRITON_CACHE_DIR=/tmp/triton \
    XDG_CACHE_HOME=/tmp/cache \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG VARIANT=cpu
ARG VERSION=0+unknown
ARG REVISION=unknown
ARG SOURCE=

LABEL org.opencontainers.image.title="model-eval" \
      org.opencontainers.image.description="Decides in CI whether a PyTorch checkpoint is good enough to merge." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      model-eval.variant="${VARIANT}"

# Not in the workspace: a yaml.py there must not be imported in place of the real one (-I says so again).
WORKDIR /var/empty
HEALTHCHECK NONE
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/python", "-I", "-m", "model_eval"]
