# Three images from one build:
#
#   docker build --target operator --build-arg VERSION=0.1.0 -t docker.io/postern/operator:0.1.0 .
#   docker build --target sidecar  --build-arg VERSION=0.1.0 -t docker.io/postern/sidecar:0.1.0 .
#   docker build --target audit    --build-arg VERSION=0.1.0 -t docker.io/postern/audit:0.1.0 .
#
# For other platforms add --platform linux/amd64,linux/arm64: Go cross-compiles, nothing is emulated.
# `make images` builds the same without a container engine.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26.8-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY config/crd config/crd
COPY controllers controllers
COPY sidecar sidecar
ARG TARGETOS TARGETARCH VERSION=dev
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH
RUN go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/operator ./cmd/setup ./cmd/sidecar ./cmd/redirect ./cmd/audit

# Certificate authorities, /etc/passwd with "nonroot" (65532), and no shell.
FROM gcr.io/distroless/static-debian13:nonroot AS base
COPY LICENSE NOTICE /licenses/
USER 65532:65532

FROM base AS operator
# setup applies the default SidecarClass, as a hook of the chart.
COPY --from=build /out/operator /out/setup /
ENTRYPOINT ["/operator"]

FROM base AS sidecar
# redirect is the init container that programs the pod's network; it alone runs as root, by the pod's manifest.
COPY --from=build /out/sidecar /out/redirect /
ENTRYPOINT ["/sidecar"]

FROM base AS audit
COPY --from=build /out/audit /
ENTRYPOINT ["/audit"]
