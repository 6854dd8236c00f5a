#!/usr/bin/env bash
# Builds the Calico that packet tests run on, and prints the folder that holds
# it, which is what CPNP_CALICO_ASSETS wants to be:
#
#   apiserver calico-felix kube-controllers   the programs
#   selectors  Calico's parser of selectors, to be asked
#   crds/      crd.projectcalico.org/v1: what these store in, and Calico's own files
#   v3-crds/   projectcalico.org/v3 as plain CRDs, as Calico 3.32 and later can have it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/calico"
source ../lib.sh

module=github.com/projectcalico/calico

build() {
	say "Building Calico's API server, Felix and kube-controllers (about 10 minutes the first time)"
	go build -trimpath -ldflags "-s -w" -o "$1/" \
		"$module"/{apiserver/cmd/apiserver,felix/cmd/calico-felix,kube-controllers/cmd/kube-controllers} ./cmd/selectors

	mkdir "$1/crds" "$1/v3-crds"
	cp "$(go list -m -f '{{.Dir}}' "$module")"/libcalico-go/config/crd/*.yaml "$1/crds"
	chmod 644 "$1"/crds/*
	derive_v3 "$1/crds" "$1/v3-crds"
}

# Calico's two groups have the same types. controller-gen would make CRDs from
# them without knowing scopes, one plural, and that ports and protocols are
# numbers or strings; Calico's own files know all that. Addresses that were
# handed out are in the group for storage alone.
derive_v3() {
	local file name
	for file in "$1"/crd.projectcalico.org_*.yaml; do
		name=${file##*/crd.}
		[[ $name == *_ipam* || $name == *_blockaffinities.yaml ]] ||
			sed -E 's/\bcrd\.(projectcalico\.org)$/\1/; s/^(    - name: )v1$/\1v3/' "$file" >"$2/$name"
	done
}

build_once calico "$(cat go.mod go.sum cmd/selectors/*.go ../build-calico.sh | sha256sum | cut -c1-16)" build
