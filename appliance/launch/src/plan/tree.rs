//! The files below a site's root: what becomes a page, what is left out, and what may not be there.

use super::Ground;
use super::complaints::Place;
use super::table::At;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file that becomes a page.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its path on the site, with the slash in front.
    pub(crate) path: String,
    /// Where it lies.
    pub(crate) file: PathBuf,
    /// Its length.
    pub(crate) length: u64,
    /// When it was last changed, in seconds since 1970.
    pub(crate) modified: u64,
}

/// What a walk knows.
struct Walk<'a, 'g> {
    ground: &'a Ground<'g>,
    /// The root without any symbolic link.
    root: PathBuf,
    pages: Vec<Page>,
}

/// Every page below a root, in the order of their paths.
pub(crate) fn walk(ground: &Ground<'_>, written: &At<&str>) -> Vec<Page> {
    let folder = ground.path(written.value);
    let root = match fs::canonicalize(&folder) {
        Ok(root) if root.is_dir() => root,
        Ok(_) => {
            ground.complaints.wrong(
                &written.place,
                format!("{} is not a folder", folder.display()),
                "name a folder",
            );
            return Vec::new();
        }
        Err(error) => {
            let what = format!("{} cannot be read: {error}", folder.display());
            let near = super::neighbour(&folder);
            let remedy =
                near.map_or("make the folder, or name another".into(), |near| format!("{near} was meant?"));
            ground.complaints.wrong(&written.place, what, remedy);
            return Vec::new();
        }
    };
    let mut walk = Walk { ground, root, pages: Vec::new() };
    walk.folder(&folder, "", &mut Vec::new());
    walk.pages.sort_by(|one, two| one.path.cmp(&two.path));
    if !walk.pages.iter().any(|page| page.path == "/index.html") {
        let what = format!("{} has no index.html", folder.display());
        ground.complaints.hint(&written.place, what, "then / is answered with 404");
    }
    walk.pages
}

impl Walk<'_, '_> {
    /// One folder; `above` are the real folders that lead to it, so that no link leads round and round.
    fn folder(&mut self, folder: &Path, path: &str, above: &mut Vec<PathBuf>) {
        let place = Place::file(folder);
        let Some(real) = self.inside(folder) else { return };
        if above.contains(&real) {
            let remedy = "take the link away: pages below it would have no end";
            return self.ground.complaints.wrong(&place, "this link leads back to a folder above it", remedy);
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder, &error),
        };
        above.push(real);
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), path, above),
                Err(error) => self.unreadable(folder, &error),
            }
        }
        above.pop();
    }

    fn entry(&mut self, file: &Path, path: &str, above: &mut Vec<PathBuf>) {
        let place = Place::file(file);
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
            let what = "its name is not UTF-8, so no browser can ask for it";
            return self.ground.complaints.wrong(&place, what, "rename it");
        };
        if name.bytes().any(|byte| byte < 32 || byte == 127 || byte == b'\\') {
            let what = "its name holds a letter that no address may hold";
            return self.ground.complaints.wrong(&place, what, "rename it");
        }
        if name.starts_with('.') && name != ".well-known" {
            return self.ground.complaints.hint(
                &place,
                "hidden files are left out",
                "rename it if it is a page",
            );
        }
        let path = format!("{path}/{name}");
        match fs::metadata(file) {
            Ok(facts) if facts.is_dir() => self.folder(file, &path, above),
            Ok(facts) if facts.is_file() => self.file(file, path, &facts),
            Ok(_) => {
                self.ground.complaints.wrong(&place, "this is neither a file nor a folder", "take it away")
            }
            Err(error) => self.unreadable(file, &error),
        }
    }

    fn file(&mut self, file: &Path, path: String, facts: &Metadata) {
        if self.inside(file).is_none() {
            return;
        }
        if let Err(error) = fs::File::open(file) {
            return self.unreadable(file, &error);
        }
        if looks_secret(file) {
            let remedy = "move it out of the site: everybody could fetch it";
            self.ground.complaints.wrong(
                &Place::file(file),
                "there is a private key among the pages",
                remedy,
            );
        }
        if path.len() > 4096 {
            let what =
                format!("its address has {} bytes, more than most servers and browsers take", path.len());
            self.ground.complaints.hint(&Place::file(file), what, "shorten the names of its folders");
        }
        let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |span| span.as_secs());
        self.pages.push(Page { path, file: file.to_owned(), length: facts.len(), modified });
    }

    /// Where a file or folder really lies, if that is inside the root.
    fn inside(&self, file: &Path) -> Option<PathBuf> {
        let place = Place::file(file);
        match fs::canonicalize(file) {
            Ok(real) if real.starts_with(&self.root) => Some(real),
            Ok(real) => {
                let what = format!("this link leads out of the site, to {}", real.display());
                self.ground.complaints.wrong(&place, what, "copy what it leads to into the site");
                None
            }
            Err(error) => {
                self.unreadable(file, &error);
                None
            }
        }
    }

    fn unreadable(&self, file: &Path, error: &std::io::Error) {
        let what = format!("it cannot be read: {error}");
        self.ground.complaints.wrong(&Place::file(file), what, "mend it or take it away");
    }
}

/// A file that looks like a private key.
fn looks_secret(file: &Path) -> bool {
    let mut head = [0; 256];
    let count =
        fs::File::open(file).and_then(|mut file| std::io::Read::read(&mut file, &mut head)).unwrap_or(0);
    let head = String::from_utf8_lossy(head.get(..count).unwrap_or_default()).into_owned();
    head.trim_start().starts_with("-----BEGIN")
        && head.lines().next().is_some_and(|line| line.contains("PRIVATE KEY"))
}
