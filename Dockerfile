# An image of one static binary and the CA certificates:  docker build -t crs-operator .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static glibc, so that nothing is needed beside it. With --target, build scripts and macros, which can't be
# static, are compiled without the flag.
RUN target="$(uname -m)-unknown-linux-gnu" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" --bin crs-operator \
    && cp "target/$target/release/crs-operator" /crs-operator

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crs-operator" \
      org.opencontainers.image.description="Keeps Tencent Cloud CRS (Redis) instances at the memory size their owners declare, and never pays twice" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /crs-operator /crs-operator
# A number, so that runAsNonRoot can be checked without a passwd file.
USER 65532:65532
ENTRYPOINT ["/crs-operator"]
CMD ["run"]
