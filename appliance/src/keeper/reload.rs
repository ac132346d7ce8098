//! A reload: another bundle comes over the operator's channel while the present one is served.
//!
//! First its index and its secret part, then the chunks that the present bundle lacks. Nothing is changed before all of
//! it is here and verified: either the whole takes the present one's place, or nothing does and the operator is told why.

use bundle::{Bundle, Renewal};
use bytes::Bytes;
use std::rc::Rc;
use zeroize::Zeroizing;

/// The longest secret part.
const SECRETS: usize = 1 << 20;

/// A bundle that is coming.
pub(super) struct Reload {
    pub(super) line: u16,
    head: Zeroizing<Vec<u8>>,
    index: usize,
    secret: usize,
    renewal: Option<Renewal>,
}

/// What is next.
pub(super) enum Next {
    /// More bytes.
    More,
    /// These chunks.
    Want(Vec<(u32, u32)>),
    /// Nothing: here it is, with its secret part.
    Whole(Rc<Bundle>, Zeroizing<Vec<u8>>),
}

impl Reload {
    /// Begins one whose index and secret part have so many bytes, if there are `room` bytes for it.
    pub(super) fn begin(line: u16, index: u32, secret: u32, room: usize) -> Result<Self, String> {
        let [index, secret] = [index, secret].map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if secret > SECRETS {
            return Err("the secret part is larger than a mebibyte".to_owned());
        }
        fits(index.saturating_mul(4), room)?;
        Ok(Self { line, head: Zeroizing::default(), index, secret, renewal: None })
    }

    /// Takes bytes that came.
    pub(super) fn take(&mut self, bytes: &[u8], present: &Bundle, room: usize) -> Result<Next, String> {
        match &mut self.renewal {
            Some(renewal) => renewal.take(bytes).map_err(|broken| broken.to_string())?,
            None => {
                let whole = self.index.saturating_add(self.secret);
                if bytes.len() > whole.saturating_sub(self.head.len()) {
                    return Err("more came than was offered".to_owned());
                }
                // All at once, so that what is secret is not left behind by a growing buffer.
                let left = whole.saturating_sub(self.head.len());
                self.head.reserve_exact(left);
                self.head.extend_from_slice(bytes);
                if self.head.len() < whole {
                    return Ok(Next::More);
                }
                return self.open(present, room);
            }
        }
        self.go_on()
    }

    fn open(&mut self, present: &Bundle, room: usize) -> Result<Next, String> {
        let index = Bytes::copy_from_slice(self.head.get(..self.index).unwrap_or_default());
        let renewal = Renewal::open(index, Some(present)).map_err(|broken| broken.to_string())?;
        fits(renewal.wanted(), room)?;
        let spans = renewal.missing().collect();
        let whole = renewal.is_whole();
        self.renewal = Some(renewal);
        if whole { self.go_on() } else { Ok(Next::Want(spans)) }
    }

    fn go_on(&mut self) -> Result<Next, String> {
        let Some(renewal) = self.renewal.take_if(|renewal| renewal.is_whole()) else { return Ok(Next::More) };
        let bundle = renewal.done().map_err(|broken| broken.to_string())?;
        let secret = self.head.get(self.index..).unwrap_or_default().to_vec();
        Ok(Next::Whole(Rc::new(bundle), Zeroizing::new(secret)))
    }
}

fn fits(bytes: usize, room: usize) -> Result<(), String> {
    if bytes <= room {
        return Ok(());
    }
    let [bytes, room] = [bytes, room].map(|bytes| bytes.div_ceil(1 << 20));
    Err(format!("the new bundle needs {bytes} MiB and {room} are left: give the appliance more memory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::{Coding, Estate, Measure, Packer, Site, index_length};

    /// A bundle of one page.
    fn packed(page: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new(Estate { sites: vec![Site::default()], ..Estate::default() });
        let (placed, _) = packer.place(Coding::Identity, Measure::of(page));
        packer.shelve(0, "/index.html", "text/html", 1, vec![placed]);
        [page, &packer.finish().unwrap()].concat()
    }

    fn index(bytes: &[u8]) -> &[u8] {
        &bytes[bytes.len() - index_length(&bytes[bytes.len() - 64..]).unwrap()..]
    }

    const ROOM: usize = 1 << 20;

    #[test]
    fn it_is_whole_when_the_last_byte_has_come_however_it_was_cut() {
        let (old, new) = (packed(b"old page"), packed(b"new page"));
        let present = Bundle::open(old.into()).unwrap();
        let head = [index(&new), b"secret"].concat();
        for cut in 1..head.len() {
            let mut reload = Reload::begin(1, index(&new).len() as u32, 6, ROOM).unwrap();
            assert!(matches!(reload.take(&head[..cut], &present, ROOM), Ok(Next::More)));
            let Ok(Next::Want(spans)) = reload.take(&head[cut..], &present, ROOM) else { panic!("{cut}") };
            assert_eq!(spans, [(0, 1)]);
            assert!(matches!(reload.take(b"new ", &present, ROOM), Ok(Next::More)));
            let Ok(Next::Whole(bundle, secret)) = reload.take(b"page", &present, ROOM) else { panic!() };
            assert_eq!(bundle.fingerprint(), Bundle::fingerprint_of(&new).unwrap());
            assert_eq!(secret.as_slice(), b"secret");
        }
    }

    #[test]
    fn what_is_too_large_or_not_what_was_offered_is_refused_with_the_reason() {
        let (old, new) = (packed(b"old page"), packed(&[7; 5000]));
        let present = Bundle::open(old.into()).unwrap();
        let length = index(&new).len() as u32;
        let refusal = |room| Reload::begin(1, length, 6, room).err().unwrap();
        assert!(refusal(100).contains("needs 1 MiB") && refusal(100).contains("more memory"));
        assert!(Reload::begin(1, length, 1 << 21, ROOM).err().unwrap().contains("secret part"));
        let mut reload = Reload::begin(1, length, 0, ROOM).unwrap();
        assert!(reload.take(index(&new), &present, 4999).err().unwrap().contains("more memory"));
        let mut reload = Reload::begin(1, length, 0, ROOM).unwrap();
        let more = [index(&new), b"x"].concat();
        assert!(reload.take(&more, &present, ROOM).err().unwrap().contains("more came"));
        let mut reload = Reload::begin(1, length, 0, ROOM).unwrap();
        assert!(matches!(reload.take(index(&new), &present, ROOM), Ok(Next::Want(_))));
        assert!(reload.take(&[8; 5000], &present, ROOM).err().unwrap().contains("changed"));
    }
}
