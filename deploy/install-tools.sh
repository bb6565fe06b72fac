#!/usr/bin/env bash
# install-tools.sh - the programs of a node: crun, runc, conmon, criu, catatonit, busybox, nft, ip.
#
#   install-tools.sh [--prefix DIR] [--tests] [--suite NAME] [--mode auto|distro|bundle]
#                    [--force] [--check]
#
# Where the distribution's packages are new enough (Debian 13), they are installed with apt-get.
# Elsewhere (Debian 12) packages of a newer Debian suite are unpacked under DIR (/opt/ferry) together
# with their own C library and loader, so nothing of the system is replaced: the newer suite is read
# with a private apt state and never becomes visible to the system's apt or dpkg. apt checks what it
# downloads (signed Release file, then hashes) with the machine's own keyring.
#
#   --tests   also what the tests need from the distribution: skopeo, umoci, CNI plugins
#   --check   change nothing; say what is there, and fail if something is missing
#   --force   do it again although nothing changed
#
# The result is DIR/bin. That comes first in the PATH of whatever starts crun or runc: both look for
# criu there. Runs one at a time; quick when nothing changed.
set -euo pipefail
umask 022

prefix=/opt/ferry suites="sid forky trixie" mode=auto force=0 check=0 tests=0
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=$2; shift ;;
    --suite) suites=$2; shift ;;
    --mode) mode=$2; shift ;;
    --tests) tests=1 ;;
    --force) force=1 ;;
    --check) check=1 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) echo "install-tools: unknown argument: $1" >&2; exit 2 ;;
  esac
  shift
done

say() { echo "install-tools: $*" >&2; }
die() { say "$*"; exit 1; }
case $prefix in /*) ;; *) die "--prefix must be an absolute path" ;; esac

# Tools that may come from a newer suite: the package of each, and the oldest version that will do.
bundled="crun runc conmon criu catatonit busybox"
declare -A package=([crun]=crun [runc]=runc [conmon]=conmon [criu]=criu [catatonit]=catatonit
  [busybox]=busybox-static)
declare -A oldest=([crun]=1.14 [runc]=1.1.12 [conmon]=2.1.10 [criu]=4.1 [catatonit]=0.1.7
  [busybox]=1:1.30)
# Programs that always come from the distribution: they belong to its kernel and configuration.
declare -A system=([nft]=nftables [ip]=iproute2)
[ $tests = 0 ] || system+=([skopeo]=skopeo [umoci]=umoci
  [/usr/lib/cni/bridge]=containernetworking-plugins)

# --- what is there ----------------------------------------------------------------------------------

find_tool() { # find_tool NAME-OR-PATH
  case $1 in /*) [ ! -x "$1" ] || { echo "$1"; return; }; return 1 ;; esac
  if [ -x "$prefix/bin/$1" ]; then echo "$prefix/bin/$1"; return; fi
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin command -v "$1"
}
tool_version() { # tool_version NAME PATH
  case $1 in
    busybox) "$2" 2>&1 | sed -n '1s/^BusyBox v\([^ ]*\).*/\1/p' ;;
    /usr/lib/cni/*) "$2" --version 2>&1 | sed -n 's/^.*supported: .*[ ,]/CNI-/p' ;;
    ip) "$2" -V | sed -n 's/.*iproute2-\([^,]*\).*/\1/p' ;;
    *) "$2" --version 2>&1 | sed -n 's/^[^0-9]*\([0-9][0-9.]*\).*/\1/p' | sed -n 1p ;;
  esac
}
report() { # one line for each tool; fails if one is missing or does not run
  local tool path version bad=0
  for tool in $bundled "${!system[@]}"; do
    path=$(find_tool "$tool" || true)
    version=
    [ -z "$path" ] || version=$(tool_version "$tool" "$path" || true)
    printf '%-19s %-14s %s\n' "$tool" "${version:-MISSING}" "$path"
    [ -n "$version" ] || bad=1
  done
  return $bad
}
everything_is_there() {
  local tool
  for tool in $bundled "${!system[@]}"; do find_tool "$tool" >/dev/null || return 1; done
}

stamp=$prefix/.installed-by
identity="$(sha256sum <"$0") mode=$mode suites=$suites"
if [ $check = 1 ]; then report; exit; fi
is_current() { [ $force = 0 ] && everything_is_there && grep -qxF "$identity" "$stamp" 2>/dev/null; }
if is_current; then exit 0; fi

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  report >&2 || true
  say "this is no Debian-like system: install what is missing above with its own package manager:"
  for tool in $bundled; do say "  $tool, at least ${oldest[$tool]#*:}"; done
  for tool in "${!system[@]}"; do say "  $tool (package ${system[$tool]})"; done
  if everything_is_there; then say "everything is there; versions are not checked"; exit 0; fi
  exit 1
fi
[ "$(id -u)" = 0 ] || die "must run as root"

mkdir -p "$prefix"
exec 9>"$prefix/.lock"
flock 9
if is_current; then exit 0; fi

# --- the distribution -------------------------------------------------------------------------------

candidate() {
  LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | sed 's/(none)//'
}
apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@" >&2
}
is_new_enough() { # does the distribution have a package of every tool that will do?
  local tool version
  for tool in $bundled; do
    version=$(candidate "${package[$tool]}")
    if [ -z "$version" ] || ! dpkg --compare-versions "$version" ge "${oldest[$tool]}"; then
      say "the distribution's ${package[$tool]} is ${version:-missing}, wanted ${oldest[$tool]}"
      return 1
    fi
  done
}
install_system() {
  local tool missing=()
  for tool in "${!system[@]}"; do
    find_tool "$tool" >/dev/null || missing+=("${system[$tool]}")
  done
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}
install_distro() {
  local tool wanted=()
  for tool in $bundled; do wanted+=("${package[$tool]}"); done
  # crun opens libcriu by name; Debian only recommends it.
  [ -z "$(candidate libcriu2)" ] || wanted+=(libcriu2)
  apt_install "${wanted[@]}"
}

# --- a newer suite, beside the distribution ---------------------------------------------------------

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
find_mirror() { # the mirror this machine uses for Debian's main archive (not the security one)
  {
    sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources | tr ' ' '\n'
    sed -n 's/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' \
      /etc/apt/sources.list /etc/apt/sources.list.d/*.list
  } 2>/dev/null | grep -E '/debian/?$' | grep -v security | sed -n 1p || true
}
private_apt() { # private_apt COMMAND ARG...: apt that knows one suite and touches $work alone
  local command=$1
  shift
  "$command" -q \
    -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/etc" \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o "Dir::State=$work/state" -o "Dir::State::lists=$work/state/lists" \
    -o "Dir::State::status=$work/state/status" -o "Dir::State::extended_states=$work/state/ext" \
    -o "Dir::Cache=$work/cache" -o "Dir::Log=$work/log" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -o APT::Default-Release= -o "APT::Architecture=$architecture" \
    -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o Acquire::AllowInsecureRepositories=false -o APT::Get::AllowUnauthenticated=false \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
    -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false \
    -o DPkg::Post-Invoke= -o APT::Update::Post-Invoke= "$@"
}
read_suite() {
  rm -rf "${work:?}"/{etc,state,cache,root,new}
  mkdir -p "$work"/{etc,log,state/lists/partial,cache/archives/partial}
  : >"$work/state/status"
  cat >"$work/etc/bundle.sources" <<END
Types: deb
URIs: $mirror
Suites: $1
Components: main
Architectures: $architecture
Signed-By: $keyring
END
  private_apt apt-get update >"$work/log/update" 2>&1 || { tail -5 "$work/log/update" >&2; return 1; }
}
versions_in_suite() {
  local name
  for name in "${wanted[@]}"; do
    LC_ALL=C private_apt apt-cache policy "$name" | sed -n "s/^ *Candidate: /$name=/p"
  done | tr '\n' ' '
}
# With an empty status file apt resolves every dependency inside the suite, C library included.
unpack_suite() {
  private_apt apt-get -y --no-install-recommends --download-only install "${wanted[@]}" \
    >"$work/log/install" 2>&1 || { tail -5 "$work/log/install" >&2; return 1; }
  local deb
  mkdir -p "$work/root" "$work/new/bin" "$work/new/lib"
  for deb in "$work"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
}
in_suite() { # in_suite NAME: the file of this name in the suite's library or program directories
  find "$work/root" \( -path "*/lib/$triplet/*" -o -path '*/bin/*' -o -path '*/sbin/*' \) \
    \( -type f -o -type l \) -name "$1" | sed -n 1p
}
patch() { # run the suite's patchelf with the suite's loader
  "$(in_suite "$loader")" \
    --library-path "$(find "$work/root" -type d -path "*/lib/$triplet" | tr '\n' ':')" \
    "$work/root/usr/bin/patchelf" "$@"
}
copy_tools() {
  local tool file
  for tool in $bundled; do
    file=$(in_suite "$tool")
    [ -n "$file" ] || { say "the suite has no $tool"; return 1; }
    cp -L "$file" "$work/new/bin/$tool" || return 1
  done
}
copy_libraries() { # what DT_NEEDED names, and libcriu, which crun opens by name
  local library file tool next queue=libcriu.so.2 seen=" "
  cp -L "$(in_suite "$loader")" "$work/new/lib/$loader"
  for tool in $bundled; do
    queue="$queue $(patch --print-needed "$work/new/bin/$tool" 2>/dev/null | tr '\n' ' ')"
  done
  while [ -n "${queue// /}" ]; do
    next=
    for library in $queue; do
      case $library in "$loader") continue ;; esac
      case $seen in *" $library "*) continue ;; esac
      seen="$seen$library "
      file=$(in_suite "$library")
      [ -n "$file" ] || { say "the suite has no $library"; return 1; }
      cp -L "$file" "$work/new/lib/$library" || return 1
      next="$next $(patch --print-needed "$file" | tr '\n' ' ')"
    done
    queue=$next
  done
}
# DT_RPATH, not DT_RUNPATH: it also holds for the libraries' own dependencies and for dlopen.
point_into_prefix() {
  local tool
  for tool in $bundled; do
    if patch --print-interpreter "$work/new/bin/$tool" >/dev/null 2>&1; then
      patch --set-interpreter "$prefix/lib/$loader" --force-rpath --set-rpath "$prefix/lib" \
        "$work/new/bin/$tool" || return 1
    fi
  done
}
publish() { # files are replaced by rename, so the conmon of a running container keeps its own
  local file target
  mkdir -p "$prefix/bin" "$prefix/lib"
  for file in "$work"/new/lib/* "$work"/new/bin/*; do
    target=$prefix/${file#"$work/new/"}
    cp -p "$file" "$target.tmp$$"
    chmod 755 "$target.tmp$$"
    mv -f "$target.tmp$$" "$target"
  done
  for file in "$prefix"/lib/*.so*; do
    [ -e "$work/new/lib/${file##*/}" ] || rm -f "$file"
  done
  mv -f "$work/new/bundle.txt" "$prefix/bundle.txt"
}
bundle() { # bundle SUITE: bring $prefix to what the suite has now
  local content
  read_suite "$1" || return 1
  content="$1 $(versions_in_suite)"
  if [ $force = 0 ] && [ "$(sed -n 1p "$prefix/bundle.txt" 2>/dev/null)" = "$content" ] &&
    report >/dev/null; then
    say "up to date: $content"
    return
  fi
  unpack_suite && copy_tools && copy_libraries && point_into_prefix || return 1
  { echo "$content"; (cd "$work/cache/archives" && sha256sum ./*.deb); } >"$work/new/bundle.txt"
  publish
}
install_bundle() {
  local suite tool
  mirror=${FERRY_DEBIAN_MIRROR:-$(find_mirror)}
  [ -n "$mirror" ] || die "no Debian archive among apt's sources (set FERRY_DEBIAN_MIRROR)"
  [ -r $keyring ] || die "no $keyring (package debian-archive-keyring)"
  architecture=$(dpkg --print-architecture)
  case $architecture in
    amd64) triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
    arm64) triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
    *) die "no bundle for $architecture: install the tools by hand" ;;
  esac
  wanted=(libcriu2 patchelf)
  for tool in $bundled; do wanted+=("${package[$tool]}"); done
  work=$(mktemp -d "$prefix/.new.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for suite in $suites; do
    if bundle "$suite"; then return; fi
    say "suite $suite cannot be used"
  done
  die "no suite gave a complete set of tools"
}

# --- go ---------------------------------------------------------------------------------------------

# Lists that are already known are good enough; a source that cannot be reached is no reason to stop
# while the packages wanted are known.
[ -n "$(candidate nftables)" ] || apt-get -q update >&2 || say "apt-get update failed; going on"
install_system
if [ "$mode" = auto ]; then
  if is_new_enough; then mode=distro; else mode=bundle; fi
fi
"install_$mode"
report
echo "$identity" >"$stamp"
