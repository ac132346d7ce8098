//! The operator's way to a running appliance: a socket on the host, and what is asked over it.
//!
//! `place` is where the sockets are, `broker` stands between them and the appliance in the launcher that started
//! it, `caller` is the other end of such a socket, and `verbs` are what can be asked. The network never comes here.

mod broker;
mod caller;
mod offer;
mod packing;
mod place;
mod scrape;
mod top;
mod verbs;

pub(crate) use broker::{Broker, channel};
pub(crate) use caller::NoAnswer;
pub(crate) use place::{NoPlace, Place, name_for};
pub(crate) use top::{Top, top};
pub(crate) use verbs::{Drain, Log, Metrics, Plain, Reload, Stop, ask, drain, log, metrics, reload, stop};
