//! The keeper of the gate: what happens between `main` and the cores, in any world.
//!
//! It reads the command line, waits until the pool is seeded, opens the doors and then turns the loop. Everything it
//! knows of the world it asks through [`world::World`]; the cores do the rest.
#![forbid(unsafe_code)]

mod apart;
mod desk;
mod doors;
mod figures;
mod house;
mod journal;
mod larder;
mod lines;
mod means;
mod moment;
mod names;
mod party;
mod purse;
mod reload;
mod report;
mod resolver;
mod settings;
mod turns;
mod well;

pub use house::BadHouse;
pub use journal::Style;
pub use larder::{Larder, News};
pub use settings::{BadWords, Settings, Visitors, help};
pub use turns::{Ended, live};
pub use well::{Cpu, draw};
