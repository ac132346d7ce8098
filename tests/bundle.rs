//! `init`, `check` and `pack` as an operator meets them: the real tool in folders of its own.

use bench::house::{example, run};
use bench::tool;
use bundle::{Bundle, Found};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// An example that nobody has touched yet.
fn fresh() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = run(&["init", &folder.path().to_string_lossy()]);
    assert!(made.status.success(), "{}", text(&made));
    folder
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn check(folder: &Path) -> (bool, String) {
    let output = run(&["check", &folder.to_string_lossy()]);
    (output.status.success(), text(&output))
}

fn shell(folder: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", text(&output));
}

/// The sheet of the example without its comments, so that lines can be counted.
const SHEET: &str = r#"profile = "intermediate"
default-site = "localhost"

[[site]]
names = ["localhost"]
root = "site"
certificate = "tls/localhost.pem"
key = "tls/localhost.key"
"#;

/// What is written in the sheet's place (or behind it, from the `+` on), the line that must be named (0:
/// none), and a piece of the sentence.
const MISTAKES: [(&str, usize, &str); 98] = [
    // Proxies.
    ("+[[site.proxy]]\npath = \"/a\"", 9, "this proxy has no upstreams"),
    ("+[[site.proxy]]\nupstreams = \"http://192.0.2.1\"", 9, "this proxy has no path"),
    ("+[[site.proxy]]\npath = \"a\"\nupstreams = \"http://192.0.2.1\"", 10, "is no path"),
    ("+[[site.proxy]]\npath = \"/a/../b\"\nupstreams = \"http://192.0.2.1\"", 10, "is no path"),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"192.0.2.1:80\"",
        11,
        "does not begin with http:// or https://",
    ),
    ("+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://127.0.0.1:8080\"", 11, "leads nowhere"),
    ("+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://localhost:8080\"", 11, "leads nowhere"),
    ("+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1:0\"", 11, "has no port"),
    ("+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1/b\"", 11, "more than a host and a port"),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.300\"",
        11,
        "neither an address nor a name",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = [\"http://192.0.2.1\", \"https://192.0.2.2\"]",
        11,
        "speak TLS and some do not",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = [\"http://192.0.2.1\", \"http://192.0.2.1:80\"]",
        11,
        "is named twice",
    ),
    ("+[[site.proxy]]\npath = \"/a\"\nupstreams = \"https://192.0.2.1\"", 9, "which CA signs"),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1\"\nbalance = \"fair\"",
        12,
        "there is no balance",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1\"\ntls = { authorities = \"tls/ca.pem\" }",
        9,
        "speaks TLS",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1\"\nhealth = { path = \"x\" }",
        12,
        "begin it with a slash",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1\"\nupstream = 1",
        12,
        "upstreams was meant?",
    ),
    (
        "+[[site.proxy]]\npath = \"/a\"\nupstreams = \"http://192.0.2.1\"\n[[site.proxy]]\npath = \"/a/\"\nupstreams = \"http://192.0.2.1\"",
        13,
        "has /a/ already",
    ),
    ("1i trusted-proxies = [\"10.0.0.0/40\"]", 1, "is no address and no network"),
    ("1i resolvers = [\"dns.example\"]", 1, "is no address of a name server"),
    // What is not TOML.
    ("+= 1", 9, "this is not TOML"),
    ("+a = \n", 9, "this is not TOML"),
    ("+a = \"x", 9, "this is not TOML"),
    ("+[site", 9, "this is not TOML"),
    ("+key = \"twice\"", 9, "this is not TOML"),
    // What nobody knows, and what was meant.
    ("+certifcate = \"x\"", 9, "certificate was meant?"),
    ("+oscp = \"x\"", 9, "ocsp was meant?"),
    ("+redirects = 1", 9, "redirect was meant?"),
    ("+[limits]\nidle = 5", 10, "unknown key \"idle\""),
    ("+[limits]\nidle-second = 5", 10, "idle-seconds was meant?"),
    ("+[publish]\nhttps = 5", 9, "published was meant?"),
    ("+[published]\nhttp = 5", 10, "https was meant?"),
    ("+[[site.redirect]]\nform = \"/a\"\nto = \"/b\"", 10, "from was meant?"),
    ("+[site.clients]\npolice = \"required\"", 10, "policy was meant?"),
    // What is of the wrong kind or out of bounds.
    ("profile = 3", 1, "profile is of the wrong kind (integer)"),
    ("profile = \"modrn\"", 1, "there is no profile \"modrn\""),
    ("site = 3", 1, "[[site]]"),
    ("site = [3]", 1, "site is a list of tables"),
    ("", 1, "there is no site"),
    ("+[limits]\nidle-seconds = \"5\"", 10, "write a whole number from 1 to 86400"),
    ("+[limits]\nidle-seconds = 0", 10, "out of bounds"),
    ("+[limits]\nidle-seconds = -1", 10, "out of bounds"),
    ("+[limits]\nidle-seconds = 99999999999999999999", 10, ""),
    ("+[limits]\nhead-bytes = 10", 10, "write a whole number from 1024"),
    ("+[published]\nhttps = 0", 10, "from 1 to 65535"),
    ("+[published]\nhttps = 65536", 10, "from 1 to 65535"),
    ("+figures = 1", 9, "figures = true or figures = false"),
    ("+hsts = \"yes\"", 9, "hsts = true or hsts = false"),
    ("+hsts = { days = 9, preload = true }", 9, "no browser takes this"),
    ("+hsts = { day = 9 }", 9, "days was meant?"),
    // What is missing.
    ("[[site]]\nnames = [\"localhost\"]", 1, "this site has no root"),
    ("[[site]]\nnames = [\"localhost\"]", 1, "this site has no certificate"),
    ("[[site]]\nnames = [\"localhost\"]", 1, "this site has no key"),
    ("[[site]]\nroot = \"site\"", 1, "this site has no names"),
    ("+[site.clients]\npolicy = \"required\"", 9, "this clients has no authorities"),
    ("+[[site.redirect]]\nfrom = \"/a\"", 9, "this redirect has no to"),
    ("+[[site.headers]]\nfor = \"/**\"", 9, "this rule sets nothing"),
    // Names.
    ("s/\"localhost\"\\]/\"localhost\", \"localhost\"]/", 5, "localhost is named twice"),
    ("s/\\[\"localhost\"\\]/\"127.0.0.1\"/", 5, "is an address"),
    ("s/\\[\"localhost\"\\]/\"2001:db8::1\"/", 5, "is an address"),
    ("s/\\[\"localhost\"\\]/\"localhost:443\"/", 5, "has a port"),
    ("s/\\[\"localhost\"\\]/\"https:\\/\\/localhost\"/", 5, "write the host alone"),
    ("s/\\[\"localhost\"\\]/\"b\u{fc}cher.example\"/", 5, "xn--"),
    ("s/\\[\"localhost\"\\]/\"a.*.example\"/", 5, "a star where none may be"),
    ("s/\\[\"localhost\"\\]/\"a b\"/", 5, "is no name of a host"),
    ("s/\\[\"localhost\"\\]/[3]/", 5, "names is a list of texts"),
    ("s/\\[\"localhost\"\\]/[\"localhost\", \"www.example.org\"]/", 5, "does not cover www.example.org"),
    ("s/\\[\"localhost\"\\]/\"*.example.org\"/", 5, "does not cover *.example.org"),
    ("s/^default-site.*/default-site = \"localhots\"/", 2, "localhost was meant?"),
    (
        "+[[site]]\nnames = [\"localhost\"]\nroot = \"site\"\ncertificate = \"tls/localhost.pem\"\nkey = \"tls/localhost.key\"",
        10,
        "localhost is already the name of a site",
    ),
    // Files.
    ("s/root = .*/root = \"sits\"/", 6, "site was meant?"),
    ("s/root = .*/root = \"gatehouse.toml\"/", 6, "is not a folder"),
    ("s/localhost.pem/localhots.pem/", 7, "localhost.pem was meant?"),
    ("s/localhost.pem/nothing/", 7, "cannot be read"),
    ("s/localhost.pem/localhost.key/", 7, "holds no certificate"),
    ("s/localhost.key/localhost.pem/", 8, "holds no private key"),
    ("s/tls.localhost.key/gatehouse.toml/", 8, "is not PEM"),
    ("+ocsp = \"tls/ca.pem\"", 9, "is no OCSP response in DER"),
    ("+ocsp = \"tls/no.ocsp\"", 9, "cannot be read"),
    ("1i ticket-secret = \"tls/short\"", 1, "is too short"),
    (
        "+[site.clients]\npolicy = \"always\"\nauthorities = \"tls/ca.pem\"",
        10,
        "there is no policy \"always\"",
    ),
    (
        "+[site.clients]\npolicy = \"required\"\nauthorities = \"tls/localhost.key\"",
        11,
        "holds no certificate",
    ),
    (
        "+[site.clients]\npolicy = \"required\"\nauthorities = \"tls/ca.pem\"\nrevoked = \"tls/ca.pem\"",
        12,
        "holds no revocation list",
    ),
    // Rules.
    ("+[[site.redirect]]\nfrom = \"a\"\nto = \"/b\"", 10, "is no path"),
    ("+[[site.redirect]]\nfrom = \"/a*b\"\nto = \"/b*\"", 0, ""),
    ("+[[site.redirect]]\nfrom = \"/a\"\nto = \"/b*\"", 11, "the star stands for nothing"),
    ("+[[site.redirect]]\nfrom = \"/a/*\"\nto = \"/a/b\"", 11, "leads back to itself"),
    ("+[[site.redirect]]\nfrom = \"/a\"\nto = \"//b\"", 11, "leads nowhere"),
    ("+[[site.redirect]]\nfrom = \"/a\"\nto = \"ftp://b\"", 11, "leads nowhere"),
    ("+[[site.redirect]]\nfrom = \"/a\"\nto = \"/b\"\nstatus = 304", 9, "304 is no redirect"),
    (
        "+[[site.redirect]]\nfrom = \"/a/*\"\nto = \"/b\"\n[[site.redirect]]\nfrom = \"/a/x\"\nto = \"/c\"",
        13,
        "stands above and takes it all",
    ),
    ("+[[site.headers]]\nfor = \"*.css\"\ncache = \"x\"", 10, "fits no page"),
    ("+[[site.headers]]\nfor = \"/**\"\nset = { content-length = \"3\" }", 11, "is the server's own to say"),
    ("+[[site.headers]]\nfor = \"/**\"\nset = { \"a b\" = \"3\" }", 11, "is no name of a header"),
    ("+[[site.headers]]\nfor = \"/**\"\nset = { a = \"x\\ny\" }", 11, "holds a byte that no header can"),
    ("+errors = { 200 = \"404.html\" }", 9, "is no status of an error"),
    ("+errors = { 404 = \"405.html\" }", 9, "/404.html was meant?"),
    ("+errors = { 404 = 3 }", 9, "is not a text"),
];

#[test]
fn every_mistake_is_named_with_its_line_and_its_remedy() {
    let folder = fresh();
    fs::write(folder.path().join("tls/short"), [1; 16]).unwrap();
    let sheet = folder.path().join("gatehouse.toml");
    for (mistake, line, sentence) in MISTAKES {
        fs::write(&sheet, SHEET).unwrap();
        let edit = mistake.starts_with("s/") || mistake.starts_with("1i ");
        match mistake.strip_prefix('+') {
            Some(more) => fs::write(&sheet, format!("{SHEET}{more}\n")).unwrap(),
            None if edit => {
                shell(folder.path(), &format!("sed -i '{}' gatehouse.toml", mistake.replace('\'', "'\\''")))
            }
            None => fs::write(&sheet, mistake).unwrap(),
        }
        let (good, said) = check(folder.path());
        assert!(!good, "{mistake}: no mistake was found: {said}");
        assert!(said.contains(sentence), "{mistake}: {sentence:?} is not in {said}");
        let place = format!("gatehouse.toml:{line}: ");
        assert!(line == 0 || said.contains(&place), "{mistake}: {place} is not in {said}");
    }
    fs::write(&sheet, SHEET).unwrap();
    assert!(check(folder.path()).0, "{:?}", check(folder.path()));
}

/// What is done to the example, and a piece of what is said of it.
const TROUBLES: [(&str, &str); 17] = [
    (
        "openssl ecparam -name prime256v1 -genkey -noout -out tls/localhost.key",
        "is not the key of the certificate",
    ),
    (
        "openssl pkey -in tls/localhost.key -aes256 -passout pass:x -out k; mv k tls/localhost.key",
        "locked with a password",
    ),
    (
        "openssl x509 -in tls/localhost.pem -outform der -out d; mv d tls/localhost.pem",
        "convert it: openssl x509",
    ),
    ("MAKE -not_before 20200101000000Z -not_after 20210101000000Z", "expired on"),
    ("MAKE -not_before 20900101000000Z -not_after 20910101000000Z", "is not valid before"),
    ("MAKE -subj /CN=localhost", "covers no name at all"),
    ("MAKE -addext subjectAltName=DNS:other.example", "does not cover localhost"),
    ("cat tls/localhost.pem tls/localhost.pem > c; mv c tls/localhost.pem", "one that did not sign it"),
    (
        "printf -- '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n' > tls/localhost.pem",
        "cannot be read",
    ),
    ("ln -s /etc/hostname site/out", "leads out of the site"),
    ("ln -s .. site/up", "this link leads"),
    ("mkdir site/a; ln -s ../a site/a/round", "leads back to a folder above it"),
    ("ln -s nowhere site/broken", "cannot be read"),
    ("mkfifo site/pipe", "neither a file nor a folder"),
    ("touch 'site/a\\b'", "no address may hold"),
    ("cp tls/localhost.key site/oops.txt", "a private key among the pages"),
    ("touch site/$(printf 'bad\\377name')", "not UTF-8"),
];

#[test]
fn every_trouble_around_the_sheet_is_found() {
    // A certificate made by somebody else, with its own key.
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                -keyout tls/localhost.key -out tls/localhost.pem -subj /CN=localhost 2>/dev/null";
    let dated = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout tls/localhost.key \
                 -out r.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null; mkdir -p d; : > d/index; \
                 printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=d/index\\nnew_certs_dir=d\\nserial=d/serial\\ndefault_md=sha256\\n\
                 policy=p\\ncopy_extensions=copy\\n[p]\\ncommonName=supplied\\n' > d/c; echo 01 > d/serial; \
                 openssl ca -batch -config d/c -selfsign -keyfile tls/localhost.key -in r.csr -out tls/localhost.pem -notext";
    for (trouble, sentence) in TROUBLES {
        let folder = fresh();
        fs::write(folder.path().join("gatehouse.toml"), SHEET).unwrap();
        let script = match trouble.strip_prefix("MAKE ") {
            Some(dates) if dates.starts_with("-not_") => {
                let dates = dates.replace("-not_before", "-startdate").replace("-not_after", "-enddate");
                format!("{dated} {dates} 2>/dev/null")
            }
            Some(words) => format!("{make} {words}"),
            None => trouble.to_owned(),
        };
        shell(folder.path(), &script);
        let (good, said) = check(folder.path());
        assert!(!good, "{trouble}: no mistake was found: {said}");
        assert!(said.contains(sentence), "{trouble}: {sentence:?} is not in {said}");
    }
}

#[test]
fn all_mistakes_come_in_one_go_and_nothing_is_packed() {
    let folder = fresh();
    let sheet = SHEET
        .replace("intermediate", "x")
        .replace("localhost.key", "no.key")
        .replace("= \"site\"", "= \"no\"");
    fs::write(folder.path().join("gatehouse.toml"), format!("{sheet}nonsense = 1\n")).unwrap();
    let (good, said) = check(folder.path());
    assert!(!good && said.ends_with("4 mistakes\n"), "{said}");
    let output = folder.path().join("b");
    let packed = run(&["pack", &folder.path().to_string_lossy(), "-o", &output.to_string_lossy()]);
    assert!(!packed.status.success() && !output.exists(), "{}", text(&packed));
    assert!(text(&packed).contains("nothing was packed: there are 4 mistakes"), "{}", text(&packed));
}

#[test]
fn what_may_be_meant_is_a_hint_and_no_mistake() {
    let folder = fresh();
    fs::write(folder.path().join("site/.env"), "SECRET=1").unwrap();
    fs::set_permissions(folder.path().join("tls/localhost.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let (good, said) = check(folder.path());
    assert!(good && said.contains("hidden files are left out") && said.contains("chmod 600"), "{said}");
    let bundle = Bundle::open(bench::house::packed(folder.path()).into()).unwrap();
    assert_eq!(bundle.find(0, "/.env"), Found::Nothing);
}

#[test]
fn the_same_folder_gives_the_same_bytes_and_only_its_owner_may_read_them() {
    let folder = fresh();
    (0..300).for_each(|n| fs::write(folder.path().join(format!("site/{n}.txt")), "text ".repeat(n)).unwrap());
    let pack = |name: &str| {
        let file = folder.path().join(name);
        let packed = run(&["pack", &folder.path().to_string_lossy(), "-o", &file.to_string_lossy()]);
        assert!(packed.status.success(), "{}", text(&packed));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read(file).unwrap()
    };
    assert!(pack("a.bundle") == pack("b.bundle"), "the bytes differ");
}

#[test]
fn pages_come_back_whole_under_any_name() {
    let folder = fresh();
    let deep =
        (0..12).map(|_| "ein sehr langer Ordnername mit Ümläuten und 漢字").collect::<Vec<_>>().join("/");
    fs::create_dir_all(folder.path().join("site").join(&deep)).unwrap();
    fs::write(folder.path().join("site").join(&deep).join("🦀 & co.html"), "<p>crab").unwrap();
    fs::write(folder.path().join("site/one"), "1").unwrap();
    symlink("one", folder.path().join("site/link")).unwrap();
    let bundle = Bundle::open(example_again(&folder).into()).unwrap();
    let read = |path: &str| match bundle.find(0, path) {
        Found::Leaf(leaf) => bundle.read(&bundle.variants(&leaf).next().unwrap(), 0).unwrap().to_vec(),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(read(&format!("/{deep}/🦀 & co.html")), b"<p>crab");
    assert_eq!((read("/one"), read("/link")), (b"1".to_vec(), b"1".to_vec()));
}

fn example_again(folder: &TempDir) -> Vec<u8> {
    bench::house::packed(folder.path())
}

#[test]
fn only_smaller_encodings_are_kept_and_they_say_the_same() {
    let folder = fresh();
    fs::write(folder.path().join("site/tiny.txt"), "tiny").unwrap();
    fs::write(folder.path().join("site/long.txt"), "the same words again and again\n".repeat(500)).unwrap();
    let bundle = Bundle::open(example_again(&folder).into()).unwrap();
    let Found::Leaf(tiny) = bundle.find(0, "/tiny.txt") else { panic!() };
    assert_eq!(bundle.variants(&tiny).count(), 1);
    let Found::Leaf(long) = bundle.find(0, "/long.txt") else { panic!() };
    let codings: Vec<_> = bundle.variants(&long).map(|variant| variant.coding.word()).collect();
    assert_eq!(codings, ["identity", "gzip", "br", "zstd"]);
    for (variant, program) in bundle.variants(&long).zip(["cat", "gzip -d", "brotli -d", "zstd -d"]) {
        let file = folder.path().join("squeezed");
        fs::write(&file, bundle.read(&variant, 0).unwrap()).unwrap();
        shell(folder.path(), &format!("{program} < squeezed | cmp - site/long.txt"));
    }
}

#[test]
fn init_touches_nothing_that_is_there() {
    let folder = fresh();
    let key = fs::read(folder.path().join("tls/localhost.key")).unwrap();
    let again = run(&["init", &folder.path().to_string_lossy()]);
    assert!(!again.status.success() && text(&again).contains("--renew"), "{}", text(&again));
    assert!(fs::read(folder.path().join("tls/localhost.key")).unwrap() == key);
    fs::write(folder.path().join("site/index.html"), "mine").unwrap();
    assert!(run(&["init", "--renew", &folder.path().to_string_lossy()]).status.success());
    assert!(fs::read(folder.path().join("tls/localhost.key")).unwrap() != key);
    assert_eq!(fs::read(folder.path().join("site/index.html")).unwrap(), b"mine");
    shell(folder.path(), "openssl verify -CAfile tls/ca.pem tls/localhost.pem");
}

#[test]
fn a_gigabyte_is_packed_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let _ = example(folder.path());
    let large = fs::File::create(folder.path().join("site/large.bin")).unwrap();
    large.set_len(1 << 30).unwrap();
    let output = folder.path().join("large.bundle");
    let mut packing = tool()
        .args(["pack", &folder.path().to_string_lossy(), "-o", &output.to_string_lossy()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = 0;
    while packing.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", packing.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = peak.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = packing.wait_with_output().unwrap();
    assert!(said.status.success());
    assert!(text(&said).contains("a guest that serves them needs 1"), "{}", text(&said));
    assert!((1..200_000).contains(&most), "{most} kB of memory");
    assert!(fs::metadata(&output).unwrap().len() > 1 << 30);
}
