use super::*;
use crate::estate::Site;
use crate::{Measure, Packer, Renewal, SecretWriter, Secrets};
use proptest::prelude::*;

/// A bundle of one site for each list of pages.
fn packed(sites: &[Vec<(String, Vec<u8>)>]) -> Vec<u8> {
    let site = |_| Site { names: vec!["a.example".into()], ..Site::default() };
    let mut packer = Packer::new(Estate { sites: sites.iter().map(site).collect(), ..Estate::default() });
    let mut out = Vec::new();
    for (site, (path, bytes)) in
        sites.iter().enumerate().flat_map(|(at, pages)| pages.iter().map(move |p| (at, p)))
    {
        let (placed, fresh) = packer.place(Coding::Identity, Measure::of(bytes));
        if fresh {
            out.extend_from_slice(bytes);
        }
        packer.shelve(site, path, "text/html", 1_700_000_000, vec![placed]);
    }
    out.extend(packer.finish().unwrap());
    out
}

fn pages(list: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    list.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

fn open(bytes: &[u8]) -> Result<Bundle, Broken> {
    Bundle::open(Bytes::copy_from_slice(bytes))
}

/// All bytes of a page.
fn content(bundle: &Bundle, leaf: &Leaf<'_>) -> Result<Vec<u8>, Broken> {
    let variant = bundle.variants(leaf).next().unwrap();
    let mut all = Vec::new();
    while (all.len() as u64) < variant.length {
        all.extend(bundle.read(&variant, all.len() as u64)?);
    }
    Ok(all)
}

#[test]
fn what_was_packed_is_found() {
    let large: Vec<u8> = (0..CHUNK * 2 + 5).map(|at| (at / 7) as u8).collect();
    let sites = [
        pages(&[("/index.html", b"<p>"), ("/a/b/ü.txt", b"umlaut"), ("/a-b", b""), ("/large", &large)]),
        pages(&[("/same", b"<p>")]),
    ];
    let bytes = packed(&sites);
    let bundle = open(&bytes).unwrap();
    for (site, (path, wanted)) in
        sites.iter().enumerate().flat_map(|(at, list)| list.iter().map(move |p| (at, p)))
    {
        let Found::Leaf(leaf) = bundle.find(site, path) else { panic!("{path} is lost") };
        assert_eq!((leaf.path, leaf.kind), (path.as_str(), "text/html"));
        assert_eq!(&content(&bundle, &leaf).unwrap(), wanted, "{path}");
    }
    assert_eq!(bundle.find(1, "/large"), Found::Nothing);
    assert_eq!(bundle.find(2, "/same"), Found::Nothing);
    assert_eq!(bundle.leaves(0).count(), 4);
}

#[test]
fn equal_contents_lie_there_once() {
    let (one, two) = (pages(&[("/a", b"same")]), pages(&[("/a", b"same"), ("/b", b"same")]));
    let names = "/b".len() + LEAF + VARIANT + DIGEST;
    assert_eq!(packed(&[two]).len(), packed(&[one]).len() + names);
}

#[test]
fn folders_are_known_by_what_lies_below() {
    let bundle =
        open(&packed(&[pages(&[("/a-b/x", b""), ("/a/x", b""), ("/a0", b""), ("/c", b""), ("/c!", b"")])]));
    let bundle = bundle.unwrap();
    for folder in ["", "/", "/a", "/a/", "/a-b", "/a-b/"] {
        assert_eq!(bundle.find(0, folder), Found::Folder, "{folder}");
    }
    for nothing in ["/b", "/a/y", "/a-", "/a0/", "/c/", "/a//", "c", "//"] {
        assert_eq!(bundle.find(0, nothing), Found::Nothing, "{nothing}");
    }
}

#[test]
fn names_may_be_long_and_of_any_script() {
    let long = format!("/{}", "長い名前/".repeat(300));
    let bundle = open(&packed(&[pages(&[(&long, b"1"), ("/🦀", b"2")])])).unwrap();
    assert!(matches!(bundle.find(0, &long), Found::Leaf(_)));
    assert!(matches!(bundle.find(0, "/🦀"), Found::Leaf(_)));
}

#[test]
fn every_flipped_byte_is_noticed() {
    let pages = pages(&[("/index.html", b"<p>hello"), ("/b/c", b"more")]);
    let bytes = packed(std::slice::from_ref(&pages));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        let outcome = open(&bad).and_then(|bundle| {
            let leaves = pages.iter().map(|(path, _)| match bundle.find(0, path) {
                Found::Leaf(leaf) => content(&bundle, &leaf),
                _ => Err(Broken::Short),
            });
            leaves.collect::<Result<Vec<_>, _>>()
        });
        assert!(outcome.is_err(), "byte {at} of {} may change unseen", bytes.len());
    }
}

#[test]
fn a_bundle_cut_anywhere_is_refused() {
    let bytes = packed(&[pages(&[("/index.html", b"<p>hello")])]);
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "{length} bytes");
        assert!(open(&bytes[length + 1..]).is_err() || length < 8, "from byte {length}");
    }
}

#[test]
fn a_changed_chunk_spoils_its_own_part_only() {
    let large = vec![7; CHUNK * 3];
    let mut bytes = packed(&[pages(&[("/large", &large)])]);
    bytes[CHUNK + 1] = 8;
    let bundle = open(&bytes).unwrap();
    let Found::Leaf(leaf) = bundle.find(0, "/large") else { panic!() };
    let variant = bundle.variants(&leaf).next().unwrap();
    assert_eq!(bundle.read(&variant, 0).map(|bytes| bytes.len()), Ok(CHUNK));
    assert_eq!(bundle.read(&variant, CHUNK as u64), Err(Broken::Changed("file")));
    assert_eq!(bundle.read(&variant, CHUNK as u64 + 9), Err(Broken::Changed("file")), "also the second time");
    assert_eq!(bundle.read(&variant, CHUNK as u64 * 3 - 1).map(|bytes| bytes.len()), Ok(1));
    assert_eq!(bundle.read(&variant, CHUNK as u64 * 3).map(|bytes| bytes.len()), Ok(0));
}

/// An index that says what it likes under a seal that fits it.
fn sealed(index: &[u8]) -> Vec<u8> {
    let mut bytes = index.to_vec();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(index.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(index));
    bytes
}

/// Reads all that an opened bundle has.
fn wander(bundle: &Bundle) {
    for site in 0..4 {
        let _ = bundle.find(site, "/index.html");
        for leaf in bundle.leaves(site) {
            for variant in bundle.variants(&leaf) {
                let _ = bundle.read(&variant, 0);
                let _ = bundle.read(&variant, variant.length.saturating_sub(1));
                let _ = bundle.read(&variant, u64::MAX);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_hostile_index_never_panics(at in 0usize..400, value in any::<u8>(), more in any::<[u8; 3]>()) {
        let bytes = packed(&[pages(&[("/index.html", b"<p>hello"), ("/b/c", b"more")]), pages(&[("/x", b"")])]);
        let start = "<p>hellomore".len();
        let mut index = bytes[start..bytes.len() - SEAL].to_vec();
        let at = at % index.len();
        index[at] = value;
        for (offset, byte) in more.into_iter().enumerate().filter(|_| value % 2 == 0) {
            if let Some(cell) = index.get_mut(at + 1 + offset) {
                *cell = byte;
            }
        }
        let mut whole = bytes[..start].to_vec();
        whole.extend(sealed(&index));
        if let Ok(bundle) = open(&whole) {
            wander(&bundle);
        }
    }

    #[test]
    fn noise_is_no_bundle(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&noise).is_err());
        if let Ok(bundle) = open(&sealed(&noise)) {
            wander(&bundle);
        }
    }

    #[test]
    fn secrets_of_noise_never_panic(noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        let secret = [&SecretWriter::new(&[0; 32]).done()[..], &noise].concat();
        let _ = Secrets::open(&secret, &[0; 32]);
        let _ = Secrets::open(&noise, &[0; 32]);
    }
}

#[test]
fn secrets_open_for_their_own_bundle_only() {
    let bundle = open(&packed(&[pages(&[("/a", b"b")])])).unwrap();
    let mut writer = SecretWriter::new(&bundle.fingerprint());
    writer.key(0, b"der");
    writer.ticket(&[9; 48]);
    writer.address(&[8; 48]);
    let secret = writer.done();
    let secrets = Secrets::open(&secret, &bundle.fingerprint()).unwrap();
    assert_eq!((secrets.key(0), secrets.key(1)), (Some(&b"der"[..]), None));
    assert_eq!(secrets.ticket(), Some(&[9; 48][..]));
    assert!(secrets.address().is_some_and(|key| key != [8; 16]));
    assert!(matches!(Secrets::open(&secret, &[0; 32]), Err(Broken::Mismatch)));
    assert!(Secrets::open(&secret[..secret.len() - 1], &bundle.fingerprint()).is_err());
}

/// Carries from `whole` what `renewal` wants, in pieces of that size.
fn carried(mut renewal: Renewal, whole: &[u8], size: usize) -> Result<Bundle, Broken> {
    let spans: Vec<(u32, u32)> = renewal.missing().collect();
    for number in spans.into_iter().flat_map(|(first, count)| first..first + count) {
        let (at, length) = renewal.place(number as usize);
        for piece in whole[at..at + length].chunks(size) {
            renewal.take(piece)?;
        }
    }
    renewal.done()
}

/// The index and its seal.
fn index_of(bytes: &[u8]) -> Bytes {
    let length = index_length(&bytes[bytes.len() - SEAL..]).unwrap();
    Bytes::copy_from_slice(&bytes[bytes.len() - length..])
}

#[test]
fn a_renewal_carries_only_what_changed_and_again_from_there() {
    let large: Vec<u8> = (0..CHUNK * 3 + 5).map(|at| (at / 7) as u8).collect();
    let mut other = large.clone();
    other[CHUNK + 3] ^= 1;
    let first = packed(&[pages(&[("/a", b"same"), ("/large", &large), ("/old", b"goes")])]);
    let second = packed(&[pages(&[("/a", b"same"), ("/b", b"comes"), ("/large", &other)])]);
    let (one, index) = (open(&first).unwrap(), index_of(&second));
    let renewal = Renewal::open(index, Some(&one)).unwrap();
    assert_eq!(renewal.wanted(), b"comes".len() + CHUNK);
    let two = carried(renewal, &second, 1000).unwrap();
    assert_eq!(two.fingerprint(), open(&second).unwrap().fingerprint());
    for (path, wanted) in [("/a", &b"same"[..]), ("/b", b"comes"), ("/large", &other)] {
        let Found::Leaf(leaf) = two.find(0, path) else { panic!("{path} is lost") };
        assert_eq!(content(&two, &leaf).unwrap(), wanted, "{path}");
    }
    let back = Renewal::open(index_of(&first), Some(&two)).unwrap();
    assert_eq!(back.wanted(), b"goes".len() + CHUNK);
    assert!(carried(back, &first, CHUNK).is_ok());
    let same = Renewal::open(index_of(&second), Some(&two)).unwrap();
    assert!(same.is_whole() && same.done().is_ok());
}

#[test]
fn a_renewal_takes_nothing_that_was_not_packed() {
    let (bytes, other) = (packed(&[pages(&[("/a", b"good")])]), packed(&[pages(&[("/a", b"evil")])]));
    let renewal = || Renewal::open(index_of(&bytes), None).unwrap();
    assert!(carried(renewal(), &bytes, 1).is_ok());
    assert_eq!(carried(renewal(), &other, 1).err(), Some(Broken::Changed("file")));
    assert_eq!(renewal().done().err(), Some(Broken::Short));
    let mut long = renewal();
    long.take(b"good").unwrap();
    assert!(long.take(b"x").is_err(), "more than was wanted");
    for at in 0..index_of(&bytes).len() {
        let mut index = index_of(&bytes).to_vec();
        index[at] ^= 1;
        assert!(Renewal::open(index.into(), None).is_err(), "byte {at}");
    }
}

#[test]
fn other_words_leave_the_pages_as_they_are() {
    let bytes = packed(&[pages(&[("/a", b"page")])]);
    let bundle = open(&bytes).unwrap();
    let mut estate = bundle.estate().clone();
    estate.sites[0].chain = vec![b"another certificate".to_vec()];
    let index = with_estate(&index_of(&bytes), &estate).unwrap();
    let renewal = Renewal::open(index.into(), Some(&bundle)).unwrap();
    assert!(renewal.is_whole());
    let other = renewal.done().unwrap();
    assert_eq!(other.estate(), &estate);
    assert!(matches!(other.find(0, "/a"), Found::Leaf(_)) && other.fingerprint() != bundle.fingerprint());
}
