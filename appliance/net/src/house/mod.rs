//! The house: what every host does that is not a connection. Addresses, neighbours, echoes.

pub(crate) mod arp;
pub(crate) mod dhcp;
pub(crate) mod echo;
pub(crate) mod groups;
pub(crate) mod lease;
pub(crate) mod mld;
pub(crate) mod ndp;
pub(crate) mod near;
pub(crate) mod neighbours;
pub(crate) mod office;
pub(crate) mod places;
pub(crate) mod report;
pub(crate) mod routers;
pub(crate) mod slaac;
