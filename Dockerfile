# syntax=docker/dockerfile:1
# The image of `cifra serve`: port 8080, data in the volume /data, user 10001. Needs BuildKit.
#
# It asks for keys. The first one, the operator's, is CIFRA_ADMIN_KEY (32 characters at least) or what the file of
# CIFRA_ADMIN_KEY_FILE has; without either one is made and written to /data/admin.key.

FROM rust:1.95-slim-bookworm AS build
ARG TARGETARCH
# What libjpeg-turbo is built with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake make nasm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches keep dependencies built from one image to the next. They also outlive this clone, and cargo
# compares times: files older than the last build would count as built, so ours are touched.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=cifra-target-$TARGETARCH,sharing=locked \
    touch src/lib.rs src/main.rs \
    && cargo build --locked --release --bin cifra \
    # Names of functions stay for backtraces; line tables are most of the size.
    && strip --strip-debug -o /usr/local/bin/cifra target/release/cifra

FROM debian:12-slim
# CA certificates are for the client in the same binary, when it speaks to an https address.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 cifra \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin cifra \
    && install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /usr/local/bin/cifra /usr/local/bin/cifra
ENV CIFRA__SERVER__LISTEN=0.0.0.0:8080 \
    CIFRA__SERVER__DATA_DIR=/data \
    CIFRA__AUTH__MODE=keys
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["cifra", "health"]
ENTRYPOINT ["cifra"]
CMD ["serve"]
