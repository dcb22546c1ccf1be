# docker build -t clientvpn .
# The image holds Node, the compiled program with its addons, nft, and no shell. `make image` makes the same one without
# Docker. As it is, it runs the command line: docker run --rm -v "$PWD:/m:ro" clientvpn validate --manifests /m
# To run a gateway with it: docs/operations.md.
FROM debian:12-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make nftables npm python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
COPY .ci/npm .ci/
RUN sh .ci/npm
COPY . .
RUN make build && node_modules/.bin/node .ci/image-root.mjs /image

FROM scratch
COPY --from=build /image/ /
LABEL org.opencontainers.image.title=clientvpn org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/usr/sbin:/usr/bin NODE_ENV=production
WORKDIR /app
USER 65532:65532
ENTRYPOINT ["node", "/app/dist/cli/main.js"]
