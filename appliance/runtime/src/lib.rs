//! Everything that glibc would otherwise be: `_start`, relocation, the C symbols that std needs, the allocator.
//!
//! Only the `appliance` binary links this crate. What is not here (threads, sockets, files, `dlsym`) is a link error.
