//! The front end: HTTP/1.1 and HTTP/2 by hyper, static sites out of the bundle.
//!
//! The only crate that names hyper.
#![forbid(unsafe_code)]
