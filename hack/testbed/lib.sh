# Sourced by the build scripts of the test bed.
#
# What they build is named after its sources, so that it is built once per
# version and shared by every clone of this user. Progress goes to stderr.
#
# With the argument --find a script builds nothing: it prints the folder if it is
# there, and fails if it is not.

# Test beds are no releases: without the state of the repository in them, they
# are the same in every clone, and git is not needed. cgo would want a compiler.
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -buildvcs=false"

find_only=no
[[ ${1:-} != --find ]] || find_only=yes

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
		[[ $find_only == no ]] || exit 1
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
	progress=$(mktemp -d "$cache/unfinished.XXXXXX")
	# Whoever waits, be it a person or a CI that stops silent jobs, sees it live.
	# The last sleep outlives the build; it must hold neither the lock nor a pipe.
	while sleep "${CPNP_TESTBED_HEARTBEAT:-10}" &>/dev/null; do say "$name: $(how_far), $SECONDS s"; done 9>&- &
	heartbeat=$!
	trap 'kill "$heartbeat" 2>/dev/null; rm -rf "$unfinished" "$progress"' EXIT

	"$build" "$unfinished" >&2
	chmod 755 "$unfinished"
	mv --no-target-directory "$unfinished" "$folder"
	say "built in $SECONDS s"
}

# go is the go command, but for how it builds: that can take minutes, so it is
# counted what is done, and whoever else wants the processor has it, such as a demo
# that goes on meanwhile.
go() {
	if [[ $1 != build ]]; then
		command go "$@"
		return
	fi
	# What is in Go's cache is not compiled again, and does not count.
	list "${@:2}" >"$progress/total" || true # if it fails, so does the build, and says why
	if ! nice go build -v "${@:2}" 2>"$progress/compiled"; then
		say "the build failed:"
		# All but the names of packages: those have no spaces.
		cat "$progress"/{downloads,compiled} | grep ' ' | tail -n 50 >&2
		return 1
	fi
}

# list ARGUMENTS OF go build... counts the packages that a build compiles.
list() {
	local arguments=()
	while (($#)); do
		case $1 in
		-o) shift ;; # and what is after it
		*) arguments+=("$1") ;;
		esac
		shift
	done
	command go list -deps -f '{{if .Stale}}{{.StaleReason}}{{end}}' "${arguments[@]}" 2>"$progress/downloads" |
		awk 'NF && !/available in build cache/ { n++ } END { print n+0 }'
}

# how_far says how far the build is.
how_far() {
	if [[ ! -s $progress/total ]]; then
		echo "downloading modules, $(lines downloads downloading) so far"
		return
	fi
	local total compiled
	total=$(<"$progress/total")
	compiled=$(lines compiled '^[^ ]+$')
	if ((compiled < total)); then
		echo "$compiled of $total packages compiled"
	else
		echo "$total packages compiled, linking"
	fi
}

# lines FILE PATTERN counts lines of a file that may not be there yet.
lines() { grep -Ec "$2" "$progress/$1" 2>/dev/null || true; }
