# syntax=docker/dockerfile:1
# aed on the CPU, with GCC and QEMU for the emulated boards. Each RUN is a script of scripts/; tests and CI run them, too.
FROM python:3.13-slim-bookworm

COPY scripts/container_tools.sh /build/scripts/
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    /build/scripts/container_tools.sh

# torch without CUDA
ENV TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY . /build/
RUN --mount=type=cache,target=/root/.cache/pip \
    /build/scripts/container_install.sh /opt/aed

RUN /build/scripts/container_user.sh aed /work /cache
ENV PATH=/opt/aed/bin:$PATH AED_CACHE_DIR=/cache
USER aed
WORKDIR /work
RUN /build/scripts/container_check.sh /opt/aed
ENTRYPOINT ["aed"]
CMD ["help"]
