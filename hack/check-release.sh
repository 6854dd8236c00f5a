#!/usr/bin/env bash
# Checks that the repository is ready for the release of a tag: the chart has its version,
# and CHANGELOG.md has a section of it. With --notes it prints that section.
#
#   hack/check-release.sh [--notes] vX.Y.Z
set -euo pipefail
cd "$(dirname "$0")/.."

print=""
if [[ "${1:-}" == --notes ]]; then
  print=yes
  shift
fi
tag="${1:?usage: hack/check-release.sh [--notes] vX.Y.Z}"
version="${tag#v}"
chart=charts/cpnp-operator/Chart.yaml

fail() {
  echo "$1" >&2
  exit 1
}

grep -qx "version: $version" "$chart" || fail "$chart: set version to $version"
grep -qx "appVersion: $tag" "$chart" || fail "$chart: set appVersion to $tag"
notes="$(awk -v heading="## $version" 'index($0, "## ") == 1 { inside = index($0 " ", heading " ") == 1; next } inside' CHANGELOG.md)"
[[ -n "${notes//[[:space:]]/}" ]] || fail "CHANGELOG.md: rename the section Unreleased to '$version - YYYY-MM-DD', and begin a new one"
if [[ -n "$print" ]]; then
  printf '%s\n' "$notes"
fi
