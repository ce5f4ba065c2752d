#!/usr/bin/env bash
# Makes the container image with all four binaries, says how large it is, and tries it out.
#
#   scripts/image.sh [--tag NAME] [--from source|binaries] [--base IMAGE|local]
#
# --tag    the image's name: anabranch:dev, as compose.yaml and k8s/overlays/dev have it
# --from   source: compiled in deploy/Dockerfile's Rust image. binaries: those of target/release, or of ANABRANCH_BIN_DIR; built by
#          cargo if they are missing. By default source where the Rust image can be had, else binaries.
# --base   an image that it stands on, or local: made here of this Debian's own libc6, libgcc-s1 and ca-certificates, without a
#          shell, as distroless images are made. By default deploy/Dockerfile's where that can be had, else local.
#
# It needs a Docker engine; `deploy/engine.sh up` starts one on a Debian machine that has none.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin_dir=${ANABRANCH_BIN_DIR:-${CARGO_TARGET_DIR:-$root/target}/release}
unset ANABRANCH_BIN_DIR
readonly root bin_dir binaries=(controller storage-node gateway anabranch) local_base=anabranch-base:local
tag=anabranch:dev from='' base='' work='' container=''

say() { printf '%s\n' "$*"; }
fail() {
    printf 'image.sh: %s\n' "$*" >&2
    exit 1
}
usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

find_engine() {
    command -v docker >/dev/null || fail "there is no docker; '$root/deploy/engine.sh up' installs and starts it on Debian"
    docker version >/dev/null 2>&1 && return
    local found
    found=$("$root/deploy/engine.sh" env 2>/dev/null) || fail "no Docker engine answers; '$root/deploy/engine.sh up' starts one"
    eval "$found"
}

# ---- What it can be made of

default_of() { # default_of ARG: what deploy/Dockerfile says
    sed -n "s/^ARG $1=//p" "$root/deploy/Dockerfile"
}

there_is() { # there_is IMAGE: here, or on its registry
    docker image inspect "$1" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$1" >/dev/null 2>&1
}

choose() {
    if [[ -z $base ]]; then
        base=$(default_of RUNTIME_IMAGE)
        there_is "$base" || base=local
    fi
    if [[ -z $from ]]; then
        # A local base has this machine's glibc, which may be older than the Rust image's.
        from=binaries
        if [[ $base != local ]] && there_is "$(default_of RUST_IMAGE)"; then from=source; fi
    fi
    say "from $from, on $base"
}

# ---- A base of this Debian's packages

make_local_base() {
    { command -v dpkg-deb && command -v apt-get; } >/dev/null || fail "--base local needs a Debian machine"
    local rootfs=$work/rootfs debs=$work/debs package certificates=/etc/ssl/certs/ca-certificates.crt
    mkdir -p "$debs" "$rootfs"/{etc/ssl/certs,proc,sys,dev,tmp,run,root,var/lib,var/tmp,usr/{bin,sbin,lib,lib64,local/bin}}
    for package in bin sbin lib lib64; do ln -s "usr/$package" "$rootfs/$package"; done
    (cd "$debs" && apt-get download -qq libc6 libgcc-s1 gcc-"$(gcc_version)"-base netbase tzdata >/dev/null 2>&1) ||
        fail "the packages cannot be downloaded; run 'apt-get update'"
    for package in "$debs"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$rootfs" -f -
    done
    # Nothing in there is for a process of ours: conversions between character sets, manuals.
    rm -rf "$rootfs"/usr/{lib,lib64}/{*/,}gconv "$rootfs"/usr/share/{doc,man,lintian,bug,zoneinfo/right}
    find "$rootfs"/usr/{bin,sbin} -mindepth 1 -delete
    [[ ! -r $certificates ]] || cp "$certificates" "$rootfs$certificates"
    cp /etc/os-release "$rootfs/etc/os-release"
    printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$rootfs/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$rootfs/etc/group"
    printf '%s\n' 'hosts: files dns' 'passwd: files' 'group: files' >"$rootfs/etc/nsswitch.conf"
    install -d -o 65532 -g 65532 "$rootfs/home/nonroot"
    chmod 1777 "$rootfs"/{tmp,var/tmp}
    tar -c --sort=name --mtime=@0 --numeric-owner -C "$rootfs" . | docker import - "$local_base" >/dev/null
}

gcc_version() { # the version in the name of the package that libgcc-s1 depends on
    dpkg-query -W -f '${Depends}' libgcc-s1 | grep -o 'gcc-[0-9]*-base' | grep -o '[0-9]*'
}

# ---- Making it

gather_binaries() {
    local name missing=()
    for name in "${binaries[@]}"; do [[ -x $bin_dir/$name ]] || missing+=("$name"); done
    if ((${#missing[@]} > 0)); then
        [[ $bin_dir == */release ]] || fail "$bin_dir lacks ${missing[*]}"
        say "building ${missing[*]}"
        (cd "$root" && cargo build --release --locked --bins -p controller -p storage-node -p gateway -p anabranch)
    fi
    mkdir -p "$work/context"/{bin,data}
    for name in "${binaries[@]}"; do
        if command -v strip >/dev/null; then
            strip --strip-debug -o "$work/context/bin/$name" "$bin_dir/$name"
        else
            cp "$bin_dir/$name" "$work/context/bin/$name"
        fi
    done
}

# BuildKit comes with docker's buildx. Without it the classic builder makes the stage `prebuilt`, which needs no cache mounts.
build() { # build ARG…
    local revision
    revision=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
    [[ -z $(git -C "$root" status --porcelain 2>/dev/null) ]] || revision+=-changed
    DOCKER_BUILDKIT=$(docker buildx version >/dev/null 2>&1 && echo 1 || echo 0) docker build --quiet --tag "$tag" \
        --file "$root/deploy/Dockerfile" \
        --build-arg VERSION="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")" \
        --build-arg REVISION="$revision" --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$@" >/dev/null
}

make_image() {
    if [[ $base == local ]]; then
        make_local_base
        base=$local_base
    fi
    case "$from" in
        source)
            docker buildx version >/dev/null 2>&1 || fail "--from source needs docker's buildx, for its cache mounts"
            build --target image --build-arg RUNTIME_IMAGE="$base" "$root"
            ;;
        binaries)
            gather_binaries
            build --target prebuilt --build-arg RUNTIME_IMAGE="$base" "$work/context"
            ;;
    esac
}

# ---- Trying it out

confined() { # confined ARG…: as the manifests run it
    docker run --rm --read-only --network none --cap-drop ALL --security-opt no-new-privileges "$@"
}

try_out() {
    local name user owner
    user=$(docker image inspect --format '{{.Config.User}}' "$tag")
    [[ $user == 65532:65532 ]] || fail "the image's user is '$user'"
    for name in "${binaries[@]}"; do
        confined "$tag" "$name" --version || fail "$name does not start in the image"
    done
    confined "$tag" controller --check-config >/dev/null || fail "the controller does not take its defaults"
    owner=$(docker cp "$1:/var/lib/anabranch" - | tar -tv --numeric-owner | awk 'NR == 1 { print $2 }')
    [[ $owner == 65532/65532 ]] || fail "/var/lib/anabranch belongs to $owner"
    ! confined --entrypoint /bin/sh "$tag" -c true >/dev/null 2>&1 || say "note: this base has a shell"
}

print_size() {
    local bytes
    bytes=$(docker image inspect --format '{{.Size}}' "$tag")
    say "$tag: $((bytes / 1000000)) MB, of which binaries:"
    for name in "${binaries[@]}"; do
        # Read through docker, because the image may have been compiled in a container.
        say "  $name $(($(docker cp "$1:/usr/local/bin/$name" - | tar -xO | wc -c) / 1000000)) MB"
    done
}

main() {
    while (($# > 0)); do
        case "$1" in
            --tag | --from | --base)
                (($# > 1)) || fail "$1 needs a value"
                printf -v "${1#--}" '%s' "$2"
                shift 2
                ;;
            help | -h | --help)
                usage
                return
                ;;
            *) fail "unknown argument '$1'; see '$0 help'" ;;
        esac
    done
    [[ $from =~ ^(|source|binaries)$ ]] || fail "--from is source or binaries"
    find_engine
    work=$(mktemp -d)
    trap 'rm -rf -- "$work"; [[ -z $container ]] || docker rm "$container" >/dev/null' EXIT
    choose
    make_image
    container=$(docker create "$tag")
    try_out "$container"
    print_size "$container"
}

main "$@"
