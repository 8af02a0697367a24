# shellcheck shell=bash
# Sourced. Builds a directory of programs once and keeps it in the user's cache.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/apitoken-operator

log() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  log "$*"
  exit 1
}

# built_once KEY WHAT MINUTES COMMAND... prints the directory of that key. Where there is none yet,
# COMMAND... DIR fills one, which takes about so many minutes; it is there only when that succeeded.
built_once() {
  local directory=$cache/$1
  [[ -d $directory ]] || build_into "$directory" "${@:2}"
  printf '%s\n' "$directory"
}

build_into() (
  directory=$1 what=$2 minutes=$3
  mkdir -p "$cache"
  exec 9>"$directory.lock"
  until flock -w 20 9; do log "waiting for another build of the same to end"; done
  [[ ! -d $directory ]] || exit 0

  trap 'rm -rf "$directory.tmp"' EXIT
  rm -rf "$directory.tmp"
  mkdir "$directory.tmp"
  log "building $what, which takes about $minutes min the first time"
  "${@:4}" "$directory.tmp" | report_progress
  mv "$directory.tmp" "$directory"
  log "built in $SECONDS s"
)

# Its input is the build's standard output: silent, and open for as long as the build runs.
report_progress() {
  while read -rt 20 || (($? > 128)); do log "still building, $SECONDS s so far"; done
}
