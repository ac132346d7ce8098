//! The bench that the tests stand on: where the workspace is and how to start what it makes.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// The workspace's top folder.
#[must_use]
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

pub mod outer;
