# Sourced by ./demo and ./check: the packages of this machine. Nothing is ever removed, and packages that are there are left alone.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

is_debian_12() { ( . /etc/os-release 2>/dev/null && [[ ${ID:-} = debian && ${VERSION_ID:-} = 12 ]] ); }

# missing_packages PACKAGE...: those that are not installed, one a line.
missing_packages() {
  local package
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) = installed ]] || printf '%s\n' "$package"
  done
}

# as_root COMMAND...: as root, by sudo where that asks for nothing; 126 where neither is possible.
as_root() {
  if [[ $(id -u) = 0 ]]; then "$@"
  elif sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 126; fi
}

# install_packages PACKAGE...: installs what is missing, saying so. Ends with status 1, after the exact line to type, where it may not.
install_packages() {
  local -a missing apt
  mapfile -t missing < <(missing_packages "$@")
  (( ${#missing[@]} )) || return 0
  apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -y -qq)
  say "Installing ${missing[*]}"
  local status=0
  as_root true || status=$?
  if (( status == 126 )); then
    say "This needs root, and sudo asks for a password (or is not there). As root, type:"
    say "  apt-get update && apt-get install --no-install-recommends --no-remove ${missing[*]}"
    return 1
  fi
  # The machine's package lists may be missing (a container) or older than the mirror: bring them up to date only then.
  if ! as_root "${apt[@]}" install --no-install-recommends --no-remove "${missing[@]}" >/dev/null 2>&1; then
    as_root "${apt[@]}" update >&2 || say "apt-get update complained; going on with the lists that there are"
    as_root "${apt[@]}" install --no-install-recommends --no-remove "${missing[@]}" >&2 || {
      say "Could not install: ${missing[*]}"
      return 1
    }
  fi
}
