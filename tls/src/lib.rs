//! TLS policy, the one shell that drives every TLS connection, client identity, and proofs of who the peer is.
//!
//! The only crate that names rustls. rustls and webpki decide whom to trust; x509-parser only describes.
#![forbid(unsafe_code)]
