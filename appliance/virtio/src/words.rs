//! The words on the command line that say where devices are: `virtio_mmio.device=512@0xfeb00e00:12`, as Linux reads
//! them and QEMU and Firecracker write them.

/// A place where a device is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its registers begin.
    pub(crate) at: u64,
    /// How many bytes of them there are.
    pub(crate) len: usize,
    /// The number of its interrupt.
    pub(crate) line: u32,
}

/// What the words say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Where devices are.
    pub(crate) places: Vec<Place>,
    /// Words about devices that cannot be read.
    pub(crate) wrong: Vec<String>,
    /// All other words, in their order.
    pub(crate) rest: Vec<String>,
}

const DEVICE: &str = "virtio_mmio.device=";
/// More than any board has.
const MOST: usize = 32;
/// No device has fewer bytes of registers than its own header, or more than a huge page of them.
const LENGTHS: core::ops::RangeInclusive<u64> = 0x100..=0x20_0000;

/// Takes the words about devices out of a command line.
pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Words {
    let mut read = Words::default();
    for word in words {
        let Some(place) = word.strip_prefix(DEVICE) else {
            read.rest.push(word);
            continue;
        };
        match place_of(place).filter(|_| read.places.len() < MOST) {
            Some(place) => read.places.push(place),
            None => read.wrong.push(word),
        }
    }
    read
}

/// Reads `512@0xfeb00e00:12`, with a number of the device behind it or not.
fn place_of(word: &str) -> Option<Place> {
    let (len, rest) = word.split_once('@')?;
    let (at, rest) = rest.split_once(':')?;
    let (line, name) = rest.split_once(':').unwrap_or((rest, "0"));
    number(name)?;
    let len = length(len).filter(|len| LENGTHS.contains(len))?;
    let at = number(at)?;
    at.checked_add(len)?;
    Some(Place { at, len: usize::try_from(len).ok()?, line: u32::try_from(number(line)?).ok()? })
}

/// A number that may end in K or M.
fn length(word: &str) -> Option<u64> {
    let scaled = |scale: char, factor: u64| {
        let digits = word.strip_suffix([scale, scale.to_ascii_lowercase()])?;
        number(digits)?.checked_mul(factor)
    };
    scaled('K', 1 << 10).or_else(|| scaled('M', 1 << 20)).or_else(|| number(word))
}

/// A number, decimal or hexadecimal. A sign is none.
fn number(word: &str) -> Option<u64> {
    let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |digits| (digits, 16));
    digits.chars().all(|digit| digit.is_digit(radix)).then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Words {
        read(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn the_words_of_qemu_and_firecracker_are_understood() {
        let words = words("--a virtio_mmio.device=512@0xfeb00e00:12 b virtio_mmio.device=4K@0xd0001000:6:0");
        let qemu = Place { at: 0xfeb0_0e00, len: 512, line: 12 };
        assert_eq!(words.places, [qemu, Place { at: 0xd000_1000, len: 4096, line: 6 }]);
        assert_eq!(words.rest, ["--a", "b"]);
    }

    #[test]
    fn a_word_that_says_nothing_sensible_places_nothing() {
        for wrong in [
            "",
            "512",
            "512@",
            "512@0xfeb00000",
            "512@0xfeb00000:",
            "512@0xfeb00000:-1",
            "512@0xfeb00000:+1",
            "512@0xfeb00000:4294967296",
            "512@0xfffffffffffffff0:1",
            "512@0x10000000000000000:1",
            "0@0xfeb00000:1",
            "18446744073709551615K@0:1",
            "1M1@0:1",
            "512@0x:1",
            "512@feb00000:1",
            "512@0xfeb00000:1:x",
            "512@0xfeb00000:1:2:3",
        ] {
            let words = words(&format!("virtio_mmio.device={wrong}"));
            assert_eq!((words.places.len(), words.wrong.len(), words.rest.len()), (0, 1, 0), "{wrong}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let words = words(&"virtio_mmio.device=512@0xfeb00e00:12 ".repeat(40));
        assert_eq!((words.places.len(), words.wrong.len()), (MOST, 8));
    }

    proptest! {
        #[test]
        fn any_word_is_read_or_refused(word in "[0-9a-fx@:KM+-]{0,40}") {
            let words = words(&format!("virtio_mmio.device={word}"));
            prop_assert_eq!(words.places.len() + words.wrong.len(), 1);
        }
    }
}
