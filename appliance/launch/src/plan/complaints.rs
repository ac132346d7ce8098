//! Complaints: what is wrong, where, and what would help. All of them, not the first.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file of the operator's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    file: PathBuf,
    line: Option<usize>,
}

impl Place {
    pub(crate) fn line(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line: Some(line) }
    }

    pub(crate) fn file(file: &Path) -> Self {
        Self { file: file.to_owned(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(out, ":{line}"))
    }
}

/// One thing that is wrong, or (a hint) that may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    place: Place,
    what: String,
    remedy: String,
    hint: bool,
}

/// Everything that is wrong.
#[derive(Default)]
pub(crate) struct Complaints(RefCell<Vec<Complaint>>);

impl Complaints {
    /// This must be mended.
    pub(crate) fn wrong(&self, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(place, what.into(), remedy.into(), false);
    }

    /// This can stay, but may not be what was wanted.
    pub(crate) fn hint(&self, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(place, what.into(), remedy.into(), true);
    }

    fn add(&self, place: &Place, what: String, remedy: String, hint: bool) {
        self.0.borrow_mut().push(Complaint { place: place.clone(), what, remedy, hint });
    }

    /// How many things must be mended.
    pub(crate) fn mistakes(&self) -> usize {
        self.0.borrow().iter().filter(|complaint| !complaint.hint).count()
    }
}

impl fmt::Display for Complaints {
    /// By file and line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.borrow().clone();
        all.sort();
        all.dedup();
        all.iter().try_for_each(|complaint| {
            let kind = if complaint.hint { "hint: " } else { "" };
            writeln!(out, "{}: {kind}{}", complaint.place, complaint.what)?;
            writeln!(out, "    {}", complaint.remedy)
        })
    }
}
