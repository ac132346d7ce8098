//! The piñata: a secret on the open internet behind client-certificate authentication.
#![forbid(unsafe_code)]
