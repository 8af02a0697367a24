# shellcheck shell=bash
# Sourced. Builds the programs of a pinned Go module once and keeps them in the user's cache.

# shellcheck source-path=SCRIPTDIR source=build-once.sh
source "${BASH_SOURCE[0]%/*}/build-once.sh"

# built_programs MODULE MINUTES prints the directory that holds what the caller's function
# build_programs DIR puts there. MINUTES is how long that takes the first time.
built_programs() {
  local key
  key=$(build_key "$1")
  built_once "$key" "${1##*/}" "$2" build_module "$1"
}

# Whatever changes the programs is in here, the flags as the text of the functions that hold them.
build_key() {
  { cat "$1/go.mod" "$1/go.sum" && own_sources "$1" && declare -f build_programs set_go_environment && uname -sm; } |
    sha256sum | cut -c1-16
}

# own_sources MODULE prints what a module has beside its list of imports.
own_sources() {
  local file
  for file in "$1"/*.go; do
    [[ $file == */tools.go ]] || cat "$file"
  done
}

build_module() {
  require_go
  set_go_environment
  cd "$1" || exit
  build_programs "$2"
}

require_go() {
  if ! [[ $(GOTOOLCHAIN=local go version 2>/dev/null) =~ go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 21)); then
    die "needs Go 1.21 or newer on the PATH: https://go.dev/dl, or apt-get install golang-go"
  fi
}

# GOTOOLCHAIN=auto fetches a newer Go where the module asks for one, and only there.
set_go_environment() {
  export CGO_ENABLED=0 GOFLAGS='-trimpath -mod=readonly' GOTOOLCHAIN=auto GOWORK=off
}
