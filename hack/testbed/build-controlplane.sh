#!/usr/bin/env bash
# Builds the control plane that tests and the demo run on, and prints the
# folder that holds it, which is what KUBEBUILDER_ASSETS wants to be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/controlplane"
source ../lib.sh

programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok)
# The control plane's version, which it would otherwise not know.
version=k8s.io/component-base/version
ldflags="-s -w -X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37"

build() {
	say "Building etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and kwok (about 7 minutes the first time)"
	go build -trimpath -ldflags "$ldflags" -o "$1/controlplane" ./cmd/controlplane
	for program in "${programs[@]}"; do
		ln -s controlplane "$1/$program"
	done
	"$1/controlplane" kwok-stages >"$1/kwok-stages.yaml"
}

build_once controlplane "$(cat go.mod go.sum cmd/controlplane/*.go | sha256sum | cut -c1-16)" build
