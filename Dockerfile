# The image is reproducible: the same commit, Go release and arguments give the
# same binary, bit for bit, on any machine.
FROM --platform=$BUILDPLATFORM golang:1.26 AS builder
ARG TARGETOS
ARG TARGETARCH
# What the metric cpnp_build_info says; unknown by default.
ARG VERSION=
ARG REVISION=
ENV CGO_ENABLED=0 GOFLAGS=-mod=readonly
WORKDIR /workspace

# A layer of its own: modules change less often than code.
COPY go.mod go.sum ./
RUN go mod download

# .dockerignore lets in only what the operator is built from.
COPY . .
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= \
      -X github.com/cpnp-dev/cpnp-operator/internal/metrics.version=$VERSION \
      -X github.com/cpnp-dev/cpnp-operator/internal/metrics.revision=$REVISION" -o manager .

FROM gcr.io/distroless/static:nonroot
COPY --from=builder /workspace/manager /manager
# The number, and not the name, so that Kubernetes can check runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/manager"]
