//! One line on the console before the end: faults and panics.
//!
//! Nothing here allocates, so a line can be said when the heap is exhausted or in the middle of an allocation.

use crate::ground;
use core::fmt::{self, Write};
use std::panic::{self, PanicHookInfo};

/// The exit code of a fault: something that the program stands on is missing or broken.
pub const FAULT: i32 = 1;
/// The exit code of a panic: a bug of ours.
pub const PANIC: i32 = 101;
/// The exit code of `abort`: the heap is exhausted, or std gave up.
pub const ABORT: i32 = 134;

/// Says one line with the cause and ends the program with [`FAULT`].
pub fn fault(line: &str) -> ! {
    last_words(FAULT, format_args!("fault: {line}"))
}

/// From now on a panic says one line, with its place and its cause, and ends the program with [`PANIC`].
pub fn panic_in_one_line() {
    panic::set_hook(Box::new(|panic| last_words(PANIC, format_args!("{}", OneLine(panic)))));
}

fn last_words(code: i32, cause: fmt::Arguments<'_>) -> ! {
    let mut line = Line::new();
    let _ = write!(line, "gatehouse: {cause}");
    ground::say(line.bytes());
    ground::leave(code)
}

struct OneLine<'a>(&'a PanicHookInfo<'a>);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.0.payload_as_str().unwrap_or("no cause given");
        match self.0.location() {
            Some(place) => write!(out, "panic at {place}: {cause}"),
            None => write!(out, "panic: {cause}"),
        }
    }
}

/// A line that is cut when it is too long, and never becomes two.
struct Line {
    bytes: [u8; 400],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 400], len: 0 }
    }

    /// The line and its end, which always has room.
    fn bytes(&mut self) -> &[u8] {
        let end = self.len.min(self.bytes.len() - 1);
        if let Some(last) = self.bytes.get_mut(end) {
            *last = b'\n';
        }
        self.bytes.get(..=end).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = if byte < b' ' { b' ' } else { byte };
                self.len += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_of_three_lines_is_one_line() {
        let mut line = Line::new();
        let _ = write!(line, "first\nsecond\r\nthird");
        assert_eq!(line.bytes(), b"first second  third\n");
    }

    #[test]
    fn a_line_too_long_is_cut_and_still_ends() {
        let mut line = Line::new();
        let _ = write!(line, "{}", "x".repeat(1000));
        assert_eq!(line.bytes().len(), 400);
        assert_eq!(line.bytes().last(), Some(&b'\n'));
    }
}
