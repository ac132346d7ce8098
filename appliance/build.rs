//! Links the appliance without glibc: empty archives take the place of each of its libraries.
//!
//! The flags reach the binary and the examples, which show what links and what does not (`tests/links.rs`); the tests
//! in this package run on glibc as usual.

use std::{env, fs, path::PathBuf};

/// How to unwind the stack is known to 150 KB of tables, and nobody here does: a panic is one line and the end.
const NO_TABLES: &str =
    "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table*) } } INSERT AFTER .comment;\n";

/// The libraries that rustc names on the linker's command line.
const GLIBC: [&str; 8] = ["c", "m", "rt", "pthread", "util", "dl", "gcc", "gcc_eh"];

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or(std::io::ErrorKind::NotFound)?);
    for library in GLIBC {
        fs::write(folder.join(format!("lib{library}.a")), "!<arch>\n")?;
    }
    fs::write(folder.join("no_tables.ld"), NO_TABLES)?;
    // Not by `-Wl`, for which a comma in the folder's name is the end of it.
    let no_tables = format!("-T{}", folder.join("no_tables.ld").display());
    let found_first = format!("-L{}", folder.display());
    // Addresses that move are told by a bit each and not by 24 bytes: 80 KB less. `relocate.s` knows no other kind.
    let packed = "-Wl,-z,pack-relative-relocs";
    // Not at 0: a machine without Linux beneath loads the image at the addresses that its headers name.
    let tables = [&no_tables, "-Wl,--no-eh-frame-hdr", packed];
    for flag in
        ["-nostartfiles", "-nostdlib", &found_first, "-Wl,--image-base=0x200000"].into_iter().chain(tables)
    {
        println!("cargo:rustc-link-arg-bins={flag}");
        println!("cargo:rustc-link-arg-examples={flag}");
    }
    // The PVH note names the first instruction by that address.
    println!("cargo:rustc-link-arg-bins=-Wl,--defsym=pvh_entry_abs=pvh_start32-__ehdr_start+0x200000");
    Ok(())
}
