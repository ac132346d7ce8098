//! `gatehouse pinata`: sets a piñata up, hangs it, and hits it.

mod attempts;
pub(crate) mod init;
mod keep;
mod tools;
mod whack;

use crate::{Outcome, run};

/// What to do with a piñata.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Make a working example: a secret, a CA of its own, and a certificate for a friend.
    Init(init::Order),
    /// Hang it up and stay with it until it ends; without a folder, a demo. Takes the words of `gatehouse run`.
    Run(Box<run::Order>),
    /// Hit one with everything that is at hand, and tell what came of it.
    Whack(whack::Order),
}

/// The verb.
pub(crate) fn pinata(verb: Verb) -> Outcome {
    match verb {
        Verb::Init(order) => init::init(&order),
        Verb::Run(mut order) => {
            order.pinata = true;
            run::run(&order)
        }
        Verb::Whack(order) => whack::whack(&order),
    }
}
