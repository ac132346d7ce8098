//! One line for the console: whoever wrote the text, it stays one line and a short one.

/// The longest line, in bytes.
const LONGEST: usize = 1024;
const CUT: &str = "…";

/// The line as it is shown: control characters escaped, cut when too long, and ended.
#[must_use]
pub fn shown(text: &str) -> Vec<u8> {
    let mut line = String::with_capacity(text.len().min(LONGEST) + 2);
    for character in text.chars() {
        let before = line.len();
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
        if line.len() > LONGEST {
            line.truncate(before);
            line.push_str(CUT);
            break;
        }
    }
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(shown("a\nb\r\x1b[2Jü\t\u{85}"), "a\\nb\\r\\u{1b}[2Jü\\t\\u{85}\n".as_bytes());
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let line = shown(&"ü".repeat(100_000));
        assert!(line.len() <= LONGEST + CUT.len() + 2);
        assert!(line.ends_with("ü…\n".as_bytes()));
        assert!(shown(&"\0".repeat(100_000)).len() <= LONGEST + CUT.len() + 2);
    }
}
