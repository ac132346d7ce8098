//! `gatehouse pack`: a folder becomes one file.
//!
//! Files are measured and squeezed on all cores and written in the order of their paths, so the same folder
//! always gives the same bytes. No more than a few files are in memory at once; a site of a gigabyte needs no
//! more than a small one.

mod kinds;
mod squeeze;

use crate::Outcome;
use crate::plan::complaints::Complaints;
use crate::plan::{self, Ground, Plan};
use bundle::{Bundle, Coding, Measured, Packer, Placed, SecretWriter, trailer};
use squeeze::{Job, Squeezed};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What to pack, and into what.
#[derive(clap::Args)]
pub(crate) struct Order {
    /// The folder with gatehouse.toml.
    folder: PathBuf,
    /// The bundle to write. It holds private keys: only you can read it.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// A bundle that lies on disk.
pub(crate) struct Packed {
    /// Its pages.
    pub(crate) pages: usize,
    /// Its public part in bytes.
    pub(crate) public: u64,
    /// Its secret part in bytes.
    pub(crate) secret: u64,
}

impl Packed {
    /// The memory, in MiB, of a guest that gets this bundle: the bundle lies in it, and beside it the
    /// appliance works.
    pub(crate) fn guest_memory(&self) -> u64 {
        let bundle = self.public.saturating_add(self.secret).div_ceil(1 << 20);
        bundle.saturating_add(bundle / 8).saturating_add(48)
    }
}

/// The verb.
pub(crate) fn pack(order: &Order) -> Outcome {
    let packed = pack_into(&order.folder, &order.output)?;
    println!(
        "{}: {} pages in {}; a guest that serves them needs {} MB",
        order.output.display(),
        packed.pages,
        size(packed.public),
        packed.guest_memory()
    );
    Ok(ExitCode::SUCCESS)
}

/// Packs a folder, or says everything that is wrong with it.
pub(crate) fn pack_into(folder: &Path, output: &Path) -> Result<Packed, Box<dyn std::error::Error>> {
    let complaints = Complaints::default();
    let plan = plan::read(&Ground { folder, now: now(), complaints: &complaints });
    eprint!("{complaints}");
    match complaints.mistakes() {
        0 => {}
        1 => return Err("nothing was packed: there is a mistake".into()),
        count => return Err(format!("nothing was packed: there are {count} mistakes").into()),
    }
    // Beside the output, so that it appears there whole or not at all.
    let part = output.with_added_extension("part");
    let outcome = write(&plan, &part).and_then(|packed| fs::rename(&part, output).map(|()| packed));
    if outcome.is_err() {
        let _ = fs::remove_file(&part);
    }
    outcome.map_err(|error| format!("{}: {error}", output.display()).into())
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

fn write(plan: &Plan, part: &Path) -> io::Result<Packed> {
    let _ = fs::remove_file(part);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    let mut out = Out { file: BufWriter::with_capacity(1 << 20, file), written: 0 };
    let mut packer = Packer::new(plan.estate.clone());
    let jobs: Vec<Job<'_>> = jobs(plan);
    let mut progress = Progress::new(&jobs);
    squeeze::all(&jobs, |job, squeezed| {
        progress.step(job);
        shelve(&mut out, &mut packer, job, squeezed)
    })?;
    let index = packer.finish().map_err(io::Error::other)?;
    out.write(&index)?;
    let public = out.written;
    let secret = secrets(plan, &index)?;
    let padding = public.next_multiple_of(bundle::PAGE as u64).saturating_sub(public);
    out.write(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
    out.write(&secret)?;
    let length = usize::try_from(public).map_err(io::Error::other)?;
    out.write(&trailer(length, secret.len(), &[0; 32]))?;
    out.file.into_inner()?.sync_all()?;
    Ok(Packed { pages: jobs.len(), public, secret: secret.len() as u64 })
}

/// What of this run must not show in the bundle: files are as old as they are, but never younger than the
/// release.
fn jobs(plan: &Plan) -> Vec<Job<'_>> {
    let epoch =
        std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    let sites = plan.pages.iter().enumerate();
    let job = |site, page: &'_ plan::tree::Page| (site, page.modified.min(epoch));
    sites
        .flat_map(|(site, pages)| pages.iter().map(move |page| (job(site, page), page)))
        .map(|((site, modified), page)| Job { site, page, modified, kind: kinds::of(&page.path) })
        .collect()
}

/// Writes what is new of a page and puts it on its shelf.
fn shelve(out: &mut Out, packer: &mut Packer, job: &Job<'_>, squeezed: Squeezed) -> io::Result<()> {
    let mut variants: Vec<Placed> = Vec::new();
    let (identity, fresh) = packer.place(Coding::Identity, squeezed.whole.clone());
    if fresh {
        out.copy(&job.page.file, &squeezed.whole)?;
    }
    variants.push(identity);
    for (coding, what, bytes) in squeezed.smaller {
        let (placed, fresh) = packer.place(coding, what);
        if fresh {
            out.write(&bytes)?;
        }
        variants.push(placed);
    }
    packer.shelve(job.site, &job.page.path, job.kind.name, job.modified, variants);
    Ok(())
}

fn secrets(plan: &Plan, index: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let fingerprint = Bundle::fingerprint_of(index).map_err(io::Error::other)?;
    let mut writer = SecretWriter::new(&fingerprint);
    plan.keys.iter().enumerate().for_each(|(site, key)| writer.key(site, key));
    plan.ticket.iter().for_each(|secret| writer.ticket(secret));
    plan.address.iter().for_each(|secret| writer.address(secret));
    plan.pinata.iter().for_each(|filling| fill(&mut writer, filling));
    Ok(Zeroizing::new(writer.done()))
}

/// What the piñata needs, under the names by which the appliance asks for it.
fn fill(writer: &mut SecretWriter, filling: &plan::pinata::Filling) {
    writer.add("pinata", &filling.secret);
    filling.bounty.iter().for_each(|text| writer.add("pinata/bounty", text.as_bytes()));
    let Some(keys) = &filling.keys else { return };
    writer.add("pinata/ca", &keys.ca);
    let numbered = |writer: &mut SecretWriter, name: &str, all: &[Vec<u8>]| {
        let each = all.iter().enumerate();
        each.for_each(|(number, der)| writer.add(&format!("pinata/{name}/{number}"), der));
    };
    numbered(writer, "crl", &keys.revoked);
    for (door, shown) in pinata::DOORS.into_iter().zip(&keys.shown) {
        numbered(writer, &door.port().to_string(), &shown.chain);
        writer.add(&format!("pinata/{}/key", door.port()), &shown.key);
    }
}

/// The file that is written, and how much of it is.
struct Out {
    file: BufWriter<File>,
    written: u64,
}

impl Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Copies a file that was measured before, and looks whether it is still the same.
    fn copy(&mut self, from: &Path, measured: &Measured) -> io::Result<()> {
        let mut file = File::open(from)?;
        let mut again = bundle::Measure::default();
        let mut piece = vec![0; bundle::CHUNK];
        loop {
            let count = file.read(&mut piece)?;
            let bytes = piece.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            again.see(bytes);
            self.write(bytes)?;
        }
        if again.done() == *measured {
            return Ok(());
        }
        Err(io::Error::other(format!("{} changed while it was packed: pack again", from.display())))
    }
}

/// A line that grows on the terminal while a large site is packed.
struct Progress {
    shown: bool,
    all: (usize, u64),
    done: (usize, u64),
}

impl Progress {
    fn new(jobs: &[Job<'_>]) -> Self {
        let all = (jobs.len(), jobs.iter().map(|job| job.page.length).sum());
        let large = all.0 > 500 || all.1 > 32 << 20;
        Self { shown: large && io::stderr().is_terminal(), all, done: (0, 0) }
    }

    fn step(&mut self, job: &Job<'_>) {
        let before = self.percent();
        self.done = (self.done.0.saturating_add(1), self.done.1.saturating_add(job.page.length));
        if self.shown && (self.percent() != before || self.done.0 == self.all.0) {
            let end = if self.done.0 == self.all.0 { "\n" } else { "" };
            let (done, all) = (size(self.done.1), size(self.all.1));
            eprint!("\rpacking: {} of {} files, {done} of {all}   {end}", self.done.0, self.all.0);
        }
    }

    fn percent(&self) -> u64 {
        self.done.1.saturating_mul(100) / self.all.1.max(1)
            + self.done.0 as u64 * 100 / self.all.0.max(1) as u64
    }
}

/// A number of bytes as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
