# Two stages: a toolchain that builds, and a system that holds the C library and one binary, run by an ordinary user.
FROM rust:1-slim-bookworm AS build
# The allocator is C with a build of its own, which wants make.
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The crates first, against an empty program, so that this layer is built again only when Cargo.toml or Cargo.lock changes.
# The bench target is declared in Cargo.toml, so cargo wants its file to be there too.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/ceilings \
    && echo 'fn main() {}' > src/main.rs \
    && echo 'fn main() {}' > benches/ceilings/main.rs \
    && : > src/lib.rs \
    && cargo build --locked --release --bin whimbrel \
    && rm -r src benches

COPY . .
# The placeholders are younger than the sources may be; touching makes cargo look again. Line tables stay out of the image.
# /out/data is the only directory that the user of the second stage may write to.
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --release --bin whimbrel \
    && mkdir -p -m 0750 /out/data \
    && strip --strip-debug -o /build/whimbrel target/release/whimbrel

# The same Debian as above, so the C library fits; no shell, no package manager. Its user `nonroot` is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="whimbrel" \
      org.opencontainers.image.description="A reliable message broker over plain HTTP and WebSocket" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/whimbrel /usr/local/bin/whimbrel
COPY LICENSE /usr/share/doc/whimbrel/LICENSE
COPY --from=build --chown=65532:65532 /out/ /

USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080

# Inside a container the broker must listen on every address, and there is no access control yet: INSECURE says that whoever
# reaches the published port may do everything. Publish it to loopback or a private network only.
ENV WHIMBREL_LISTEN=0.0.0.0:8080 WHIMBREL_DATA=/data WHIMBREL_INSECURE=true
# SIGTERM drains: waiting calls are answered, open requests finish, an image is written.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/whimbrel", "doctor", "--ready", "--timeout", "4s"]
ENTRYPOINT ["/usr/local/bin/whimbrel"]
CMD ["serve"]
