#!/usr/bin/env bash
# Builds the control plane that tests and the demo run on, and prints the
# folder that holds it, which is what KUBEBUILDER_ASSETS wants to be.
#
# The folder is named after the sources, so it is built once per version and
# shared by every clone of this user. Progress goes to stderr.
set -euo pipefail

programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok)
# The control plane's version, which it would otherwise not know.
version=k8s.io/component-base/version
ldflags="-s -w -X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37"

say() { echo "testbed: $*" >&2; }

cd "$(dirname "${BASH_SOURCE[0]}")/controlplane"
sum=$(cat go.mod go.sum cmd/controlplane/*.go | sha256sum | cut -c1-16)
cache=${CPNP_TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cpnp-operator/testbed}
folder=$cache/controlplane-$sum

# It appears complete or not at all, so that it exists is all there is to ask.
if [[ -d $folder ]]; then
	echo "$folder"
	exit
fi

mkdir -p "$cache"
exec 9>"$cache/controlplane.lock"
if ! flock --nonblock 9; then
	say "another build of the control plane is under way; waiting for it"
	flock 9
fi
if [[ -d $folder ]]; then # by that other build
	echo "$folder"
	exit
fi

say "Building etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and kwok (about 7 minutes the first time)"
unfinished=$(mktemp -d "$cache/unfinished.XXXXXX")
# Whoever waits, be it a person or a CI that stops silent jobs, sees it live.
# The last sleep outlives the build; it must hold neither the lock nor a pipe.
while sleep 20 &>/dev/null; do say "still building, $SECONDS s"; done 9>&- &
heartbeat=$!
trap 'kill "$heartbeat" 2>/dev/null; rm -rf "$unfinished"' EXIT

# Test beds are no releases: without the state of the repository in them, they
# are the same in every clone, and git is not needed.
GOFLAGS="${GOFLAGS:-} -buildvcs=false" CGO_ENABLED=0 \
	go build -trimpath -ldflags "$ldflags" -o "$unfinished/controlplane" ./cmd/controlplane >&2
for program in "${programs[@]}"; do
	ln -s controlplane "$unfinished/$program"
done
"$unfinished/controlplane" kwok-stages >"$unfinished/kwok-stages.yaml"

chmod 755 "$unfinished"
mv --no-target-directory "$unfinished" "$folder"
say "built in $SECONDS s"
echo "$folder"
