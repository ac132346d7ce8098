# Sourced by the image builders: takes files out of Debian packages and puts small root file systems together.
#
#   stage NAME PACKAGE...      unpack packages (no scripts run) into $cache/NAME; again only when the list has changed
#   root DIR                   start an empty root file system in $cache/DIR, with busybox and all its names
#   file PATH...               copy a file of the stage into the root
#   program PATH...            copy a program and the libraries that it is linked with
#   modules KERNEL NAME...     copy kernel modules and what they depend on, unpacked
#   cpio_to FILE               write the root as an initramfs
#
# $cache is the folder for everything; $tree and $root are the stage and root in use.
set -euo pipefail
cache=${CACHE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache}
loader=/lib64/ld-linux-x86-64.so.2
libraries=/usr/lib/x86_64-linux-gnu

apt_sources() {
    local file
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        if [ -s "$file" ]; then echo "$file"; return; fi
    done
    echo "no apt sources found: this needs a Debian host" >&2
    return 1
}

suite() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

stage() {
    tree=$cache/$1
    shift
    local sources list=$*
    sources=$(apt_sources)
    if [ "$(cat "$tree/.packages" 2>/dev/null)" = "$list" ]; then return; fi
    rm -rf "$tree"
    mkdir -p "$cache"
    mmdebstrap --quiet --variant=extract --include="${list// /,}" \
        --setup-hook='for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done' \
        "$(suite)" "$tree" "$sources"
    echo "$list" >"$tree/.packages"
}

root() {
    root=$cache/$1
    rm -rf "$root"
    mkdir -p "$root"/{bin,sbin,lib64,usr/{bin,sbin,share/qemu},proc,sys,dev,run,tmp,etc,root,var/{lib,log}}
    cp "$tree/bin/busybox" "$root/bin/"
    local name
    for name in $("$tree/bin/busybox" --list); do
        [ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
    done
    ln -s ../bin/busybox "$root/sbin/modprobe"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
}

file() {
    local path
    for path in "$@"; do
        mkdir -p "$root$(dirname "$path")"
        if [ -L "$root$path" ]; then rm "$root$path"; fi
        [ -e "$root$path" ] || cp -aL "$tree$path" "$root$path"
    done
}

program() {
    file "$loader"
    local path library
    for path in "$@"; do
        file "$path"
        while read -r library; do file "$library"; done < <(linked_with "$path")
    done
}

linked_with() {
    "$tree$loader" --library-path "$tree$libraries" --list "$tree$1" 2>/dev/null |
        awk -v tree="$tree" '{ path = $2 == "=>" ? $3 : $1 } index(path, tree "/") == 1 { print substr(path, length(tree) + 1) }'
}

kernel_version() { basename "$1" | sed 's/^vmlinuz-//'; }

modules() {
    local kernel=$1 name path
    shift
    [ -e "$tree/lib/modules/$kernel/modules.dep" ] || depmod -b "$tree" "$kernel"
    for name in "$@"; do
        modprobe -d "$tree" -S "$kernel" --show-depends "$name" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
    done | sort -u | while read -r path; do file "${path#"$tree"}"; done
    cp "$tree/lib/modules/$kernel"/modules.{builtin,order,builtin.modinfo} "$root/lib/modules/$kernel/"
    find "$root/lib/modules" -name '*.ko.xz' -exec unxz {} +
    depmod -b "$root" "$kernel"
}

cpio_to() {
    (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc -R 0:0 --quiet) >"$1.part"
    mv "$1.part" "$1"
}
