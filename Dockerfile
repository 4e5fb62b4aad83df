# Two stages: a toolchain that builds, and a small system that runs one binary as an ordinary user.
FROM rust:1-slim-bookworm AS build
WORKDIR /build

# The crates first, against an empty program, so that this layer is built again only when Cargo.lock changes.
# The bench target is declared in Cargo.toml, so cargo wants its file to be there too.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/ceilings \
    && echo 'fn main() {}' > src/main.rs \
    && echo 'fn main() {}' > benches/ceilings/main.rs \
    && : > src/lib.rs && : > README.md \
    && cargo build --locked --release --bin whimbrel \
    && rm -rf src benches

COPY . .
# The placeholders are younger than the sources may be; touching makes cargo look again.
RUN touch src/main.rs src/lib.rs && cargo build --locked --release --bin whimbrel

FROM debian:bookworm-slim
RUN groupadd --gid 10001 whimbrel \
    && useradd --uid 10001 --gid whimbrel --home-dir /data --no-create-home --shell /usr/sbin/nologin whimbrel \
    && install --directory --owner whimbrel --group whimbrel --mode 0750 /data
COPY --from=build /build/target/release/whimbrel /usr/local/bin/whimbrel
COPY LICENSE /usr/share/doc/whimbrel/LICENSE

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080

# Inside a container the broker must listen on every address, and there is no access control yet: --insecure says that
# whoever reaches the published port may do everything. Publish it to loopback or a private network only.
ENTRYPOINT ["whimbrel", "serve", "--listen", "0.0.0.0:8080", "--data", "/data", "--insecure"]
