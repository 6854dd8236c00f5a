# Sourced by the build scripts of the test bed.
#
# What they build is named after its sources, so that it is built once per
# version and shared by every clone of this user. Progress goes to stderr.

# Test beds are no releases: without the state of the repository in them, they
# are the same in every clone, and git is not needed. cgo would want a compiler.
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -buildvcs=false"

say() { echo "testbed: $*" >&2; }

# build_once NAME SUM BUILD prints the folder of what was built from the
# sources whose checksum is SUM. If there is none yet, it has the function
# BUILD fill one.
build_once() {
	local name=$1 build=$3
	local cache=${CPNP_TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cpnp-operator/testbed}
	local folder=$cache/$name-$2

	# It appears complete or not at all, so that it exists is all there is to ask.
	if [[ ! -d $folder ]]; then
		mkdir -p "$cache"
		exec 9>"$cache/$name.lock"
		if ! flock --nonblock 9; then
			say "another build of it is under way ($name); waiting"
			flock 9
		fi
	fi
	[[ -d $folder ]] || fill "$cache" "$folder" "$build" # else by that other build
	echo "$folder"
}

fill() {
	local cache=$1 folder=$2 build=$3
	unfinished=$(mktemp -d "$cache/unfinished.XXXXXX")
	# Whoever waits, be it a person or a CI that stops silent jobs, sees it live.
	# The last sleep outlives the build; it must hold neither the lock nor a pipe.
	while sleep 20 &>/dev/null; do say "still building, $SECONDS s"; done 9>&- &
	heartbeat=$!
	trap 'kill "$heartbeat" 2>/dev/null; rm -rf "$unfinished"' EXIT

	"$build" "$unfinished" >&2
	chmod 755 "$unfinished"
	mv --no-target-directory "$unfinished" "$folder"
	say "built in $SECONDS s"
}
