//! The stacks: one to run on, and one for each kind of interruption, each between two pages that are not there.

use crate::spans::Span;
use crate::tables::PAGE;

/// Stacks for interruptions. The CPU changes to one at every fault and interrupt, so that a stack that has run out,
/// or the red zone below it, is never touched.
pub(crate) const INTERRUPTIONS: u64 = 5;
const SMALL: u64 = 4 * PAGE;
/// The main stack.
const LARGE: u64 = 1 << 20;
/// Bytes at the top of the main stack that hold the first stack, as Linux would make it.
pub(crate) const FIRST: u64 = 4 * PAGE;
/// Memory for all of them.
pub(crate) const MEMORY: u64 = INTERRUPTIONS * SMALL + LARGE;
/// Addresses for all of them.
pub(crate) const SPACE: u64 = MEMORY + (INTERRUPTIONS + 2) * PAGE;

/// Where the stacks lie: their addresses, and their memory.
#[derive(Clone, Copy)]
pub(crate) struct Stacks {
    pub(crate) at: u64,
    pub(crate) memory: u64,
}

impl Stacks {
    /// The end of the main stack, which is where it starts to be used.
    pub(crate) const fn main(self) -> u64 {
        self.at + PAGE + INTERRUPTIONS * (SMALL + PAGE) + LARGE
    }

    /// The end of the stack for interruptions of that kind, counted from 1 as the CPU does.
    pub(crate) const fn interruption(self, kind: u64) -> u64 {
        self.at + kind * (SMALL + PAGE)
    }

    /// Each stack: where it is to be seen, its memory, its length.
    pub(crate) fn runs(self) -> impl Iterator<Item = (u64, u64, u64)> {
        let small = (0..INTERRUPTIONS)
            .map(move |n| (self.interruption(n + 1) - SMALL, self.memory + n * SMALL, SMALL));
        small.chain([(self.main() - LARGE, self.memory + INTERRUPTIONS * SMALL, LARGE)])
    }

    /// The memory behind an address of a stack.
    pub(crate) fn memory_at(self, at: u64) -> Option<u64> {
        let run = self.runs().find(|(start, _, len)| Span::of(*start, *len).holds(at))?;
        Some(run.1 + (at - run.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_there_lies_below_and_above_each_stack() {
        let stacks = Stacks { at: 1 << 40, memory: 4 << 20 };
        let mut end = stacks.at;
        let mut memory = stacks.memory;
        for (start, behind, len) in stacks.runs() {
            assert_eq!(start, end + PAGE);
            assert_eq!(behind, memory);
            assert_eq!(stacks.memory_at(start), Some(behind));
            assert_eq!(stacks.memory_at(start - 1), None);
            (end, memory) = (start + len, memory + len);
        }
        assert_eq!(end, stacks.main());
        assert_eq!(end + PAGE, stacks.at + SPACE);
        assert_eq!(memory, stacks.memory + MEMORY);
    }
}
