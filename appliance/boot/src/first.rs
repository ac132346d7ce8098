//! The first stack, as Linux would make it: argc, argv, envp, auxv, and the words themselves.

const PHDR: u64 = 3;
const PHENT: u64 = 4;
const PHNUM: u64 = 5;
const PAGESZ: u64 = 6;
const RANDOM: u64 = 25;
const MOST_WORDS: usize = 256;
/// What the program is called.
const NAME: &[u8] = b"appliance";

/// What the first stack says of the image.
pub(crate) struct Facts {
    pub(crate) headers: u64,
    pub(crate) count: u64,
    pub(crate) random: [u64; 2],
}

/// Lays the stack into `block`, which will be seen at `at`. `None` when it does not fit.
pub(crate) fn lay(block: &mut [u8], at: u64, line: &[u8], facts: &Facts) -> Option<()> {
    let words =
        || [NAME].into_iter().chain(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()));
    let count = words().take(MOST_WORDS + 1).count();
    if count > MOST_WORDS {
        return None;
    }
    let auxv = [PHDR, facts.headers, PHENT, 56, PHNUM, facts.count, PAGESZ, 4096, RANDOM];
    // argc, argv and its end, envp's end, auxv with the address of the random bytes and its end, the random bytes.
    let random = 8 * (1 + count + 1 + 1 + auxv.len() + 1 + 2);
    let mut text = random + 16;
    let mut next = 0;
    put(block, &mut next, count as u64)?;
    for word in words() {
        put(block, &mut next, at + text as u64)?;
        block.get_mut(text..text + word.len())?.copy_from_slice(word);
        *block.get_mut(text + word.len())? = 0;
        text += word.len() + 1;
    }
    let tail = [0, 0].into_iter().chain(auxv).chain([at + random as u64, 0, 0]).chain(facts.random);
    tail.map(|word| put(block, &mut next, word)).collect()
}

fn put(block: &mut [u8], next: &mut usize, word: u64) -> Option<()> {
    block.get_mut(*next..*next + 8)?.copy_from_slice(&word.to_le_bytes());
    *next += 8;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::le64;

    const FACTS: Facts = Facts { headers: 77, count: 9, random: [0x1111, 0x2222] };

    #[test]
    fn a_reader_that_knows_linux_finds_everything() {
        let mut block = [0xaa; 4096];
        lay(&mut block, 0x10_000, b"  --address 10.0.0.2/24\tprobe=x \n", &FACTS).unwrap();
        let word = |n: usize| le64(&block, n * 8).unwrap();
        let text = |at: u64| {
            let from = &block[(at - 0x10_000) as usize..];
            String::from_utf8_lossy(&from[..from.iter().position(|byte| *byte == 0).unwrap()]).into_owned()
        };
        assert_eq!(word(0), 4);
        let words: Vec<String> = (1..5).map(|n| text(word(n))).collect();
        assert_eq!(words, ["appliance", "--address", "10.0.0.2/24", "probe=x"]);
        assert_eq!([word(5), word(6)], [0, 0]);
        let auxv: Vec<(u64, u64)> = (0..6).map(|n| (word(7 + 2 * n), word(8 + 2 * n))).collect();
        assert_eq!(auxv[..4], [(3, 77), (4, 56), (5, 9), (6, 4096)]);
        assert_eq!(auxv[4].0, 25);
        assert_eq!(auxv[5], (0, 0));
        let random = (auxv[4].1 - 0x10_000) as usize;
        assert_eq!((le64(&block, random), le64(&block, random + 8)), (Some(0x1111), Some(0x2222)));
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        assert!(lay(&mut [0; 16384], 0, &b"x ".repeat(255), &FACTS).is_some());
        assert!(lay(&mut [0; 16384], 0, &b"x ".repeat(256), &FACTS).is_none());
        assert!(lay(&mut [0; 16384], 0, &[b'x'; 4095], &FACTS).is_some());
        for room in 0..300 {
            assert_eq!(lay(&mut vec![0; room], 0, &[b'x'; 100], &FACTS).is_some(), room >= 263);
        }
    }
}
