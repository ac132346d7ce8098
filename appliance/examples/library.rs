//! Must not link: it looks up code by name.

use symbols as _;

unsafe extern "C" {
    safe fn dlsym(library: usize, name: *const u8) -> usize;
}

fn main() {
    println!("{}", dlsym(0, c"system".as_ptr().cast()));
}
