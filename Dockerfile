# The image is reproducible: the same commit and the same Go release give the
# same binary, bit for bit, on any machine.
FROM --platform=$BUILDPLATFORM golang:1.26 AS builder
ARG TARGETOS
ARG TARGETARCH
ENV CGO_ENABLED=0 GOFLAGS=-mod=readonly
WORKDIR /workspace

# A layer of its own: modules change less often than code.
COPY go.mod go.sum ./
RUN go mod download

# .dockerignore lets in only what the operator is built from.
COPY . .
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o manager .

FROM gcr.io/distroless/static:nonroot
COPY --from=builder /workspace/manager /manager
# The number, and not the name, so that Kubernetes can check runAsNonRoot.
USER 65532:65532
ENTRYPOINT ["/manager"]
