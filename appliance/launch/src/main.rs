//! `gatehouse`: the operator's tool on the host.
//!
//! `main` is the table of contents: one module for each verb. Nothing here runs inside the appliance, and nothing here
//! needs more rights than the verb does.
#![forbid(unsafe_code)]

mod appliance;
mod bridge;
mod cable;
mod check;
mod child;
mod console;
mod control;
mod demo;
mod dom0;
mod domain;
mod feeder;
mod guest;
mod init;
mod kvm;
mod life;
mod load;
mod measure;
mod memory;
mod pack;
mod pages;
mod party;
mod pcap;
mod plan;
mod process;
mod publish;
mod relay;
mod run;
mod signals;
mod supervise;
mod tapped;
mod watch;
mod xl;

use ::control::Verb as Question;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A TLS security appliance: one small program that boots by itself or runs as a locked-in process.
///
/// Without a verb it shows the demo, as `gatehouse run` does.
#[derive(Parser)]
#[command(name = "gatehouse", version, about)]
struct Gatehouse {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a working example: a site, a development CA and certificates.
    Init(init::Order),
    /// Find every mistake in a folder.
    Check(check::Order),
    /// Pack a folder into one file.
    Pack(pack::Order),
    /// Start an appliance and stay with it until it ends.
    Run(Box<run::Order>),
    /// Write what `xl create` needs to start an appliance as a domU of Xen's.
    Xl(xl::Order),
    /// Show how a running appliance is.
    Status(control::Plain),
    /// Print a running appliance's metrics, as Prometheus reads them.
    Metrics(control::Metrics),
    /// Show each request and event of a running appliance as it happens.
    Log(control::Log),
    /// Show how a running appliance is, again and again.
    Top(control::Top),
    /// Let nobody in any more; those who are inside finish, and the appliance runs on.
    Drain(control::Drain),
    /// Let people in again after `drain`.
    Resume(control::Plain),
    /// Serve another bundle, or the same with other certificates: all of it or nothing, and nobody is cut off.
    Reload(control::Reload),
    /// End an appliance when those who are inside have finished.
    Stop(control::Stop),
    /// Write the manual's pages into a folder.
    #[command(hide = true)]
    Man(pages::Man),
    /// Print completions for a shell.
    #[command(hide = true)]
    Completions(pages::Completions),
    /// A secret on the open internet: make one, hang it up, hit it.
    #[command(subcommand)]
    Pinata(party::Verb),
    /// Say what an appliance will say of its own code.
    Measure(measure::Order),
    /// Become another program that ends when the launcher ends.
    #[command(hide = true)]
    Leashed(child::Leashed),
    /// Wait until the launcher is gone, and destroy its domain.
    #[command(hide = true)]
    Outlive(dom0::Helper),
}

/// What a verb comes to: how the process exits, or one sentence about what is missing and what would help.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let outcome = match Gatehouse::parse().verb {
        None => run::run(&run::Order::default()),
        Some(Verb::Init(order)) => init::init(&order),
        Some(Verb::Check(order)) => check::check(&order),
        Some(Verb::Pack(order)) => pack::pack(&order),
        Some(Verb::Run(order)) => run::run(&order),
        Some(Verb::Xl(order)) => xl::write(&order),
        Some(Verb::Status(order)) => control::ask(&order, Question::Status),
        Some(Verb::Metrics(order)) => control::metrics(&order),
        Some(Verb::Log(order)) => control::log(&order),
        Some(Verb::Top(order)) => control::top(&order),
        Some(Verb::Drain(order)) => control::drain(&order),
        Some(Verb::Resume(order)) => control::ask(&order, Question::Resume),
        Some(Verb::Reload(order)) => control::reload(&order),
        Some(Verb::Stop(order)) => control::stop(&order),
        Some(Verb::Man(order)) => pages::man(&order),
        Some(Verb::Completions(order)) => pages::completions(&order),
        Some(Verb::Pinata(verb)) => party::pinata(verb),
        Some(Verb::Measure(order)) => measure::run(&order),
        Some(Verb::Leashed(program)) => child::become_leashed(&program),
        Some(Verb::Outlive(domain)) => dom0::outlive(&domain),
    };
    outcome.unwrap_or_else(|trouble| {
        if trouble.downcast_ref().is_some_and(control::NoAnswer::is_enough) {
            return ExitCode::SUCCESS;
        }
        eprintln!("gatehouse: {trouble}");
        ExitCode::FAILURE
    })
}
