# shellcheck shell=bash
# Sourced. Builds the programs of a pinned Go module once and keeps them in the user's cache.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/apitoken-operator

log() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  log "$*"
  exit 1
}

# built_programs MODULE MINUTES prints the directory that holds what the caller's function
# build_programs DIR puts there. MINUTES is how long that takes the first time.
built_programs() {
  local directory
  directory=$cache/$(build_key "$1")
  [[ -d $directory ]] || build_into "$directory" "$@"
  printf '%s\n' "$directory"
}

# Whatever changes the programs is in here, the flags as the text of the functions that hold them.
build_key() {
  { cat "$1/go.mod" "$1/go.sum" && declare -f build_programs set_go_environment && uname -sm; } |
    sha256sum | cut -c1-16
}

build_into() (
  directory=$1 module=$2 minutes=$3
  mkdir -p "$cache"
  exec 9>"$directory.lock"
  until flock -w 20 9; do log "waiting for another build of the same to end"; done
  [[ ! -d $directory ]] || exit 0

  require_go
  set_go_environment
  trap 'rm -rf "$directory.tmp"' EXIT
  rm -rf "$directory.tmp"
  mkdir "$directory.tmp"
  cd "$module" || exit
  log "building ${module##*/}, which takes about $minutes min the first time"
  build_programs "$directory.tmp" | report_progress
  mv "$directory.tmp" "$directory"
  log "built in $SECONDS s"
)

require_go() {
  if ! [[ $(GOTOOLCHAIN=local go version 2>/dev/null) =~ go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 21)); then
    die "needs Go 1.21 or newer on the PATH: https://go.dev/dl, or apt-get install golang-go"
  fi
}

# GOTOOLCHAIN=auto fetches a newer Go where the module asks for one, and only there.
set_go_environment() {
  export CGO_ENABLED=0 GOFLAGS='-trimpath -mod=readonly' GOTOOLCHAIN=auto GOWORK=off
}

# Its input is the build's standard output: silent, and open for as long as the build runs.
report_progress() {
  while read -rt 20 || (($? > 128)); do log "still building, $SECONDS s so far"; done
}
