//! The system calls that are left once the sandbox is closed, as a table, and the seccomp program made from it.
//!
//! The program is written by hand: thirty lines of table and compiler are easier to check than a crate that wants libc.

/// One instruction of classic BPF, as the kernel lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

/// What this process will still need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// It draws from `getrandom(2)`.
    pub(crate) random: bool,
    /// Some channel listens.
    pub(crate) accept: bool,
}

/// One system call that is allowed, if the bits of one of its arguments are right.
struct Rule {
    call: u32,
    when: &'static [Bits],
}

/// Bits of an argument's lower half that must be clear, and bits that must be set. The kernel itself looks at no others.
struct Bits {
    argument: u32,
    clear: u32,
    set: u32,
}

const ALWAYS: &[Bits] = &[];
const PROT_EXEC: u32 = 4;
const MAP_ANONYMOUS: u32 = 0x20;
const QUIET: u32 = 0x8_0800;

/// The list, busiest first. Each line is a thing that the appliance stops working without.
const RULES: [Rule; 11] = [
    // Frames in, with their header in one call.
    Rule { call: 19, when: ALWAYS }, // readv
    // Frames out.
    Rule { call: 20, when: ALWAYS }, // writev
    // Sleep; see whether the console would block.
    Rule { call: 271, when: ALWAYS }, // ppoll
    // The time, where the vDSO cannot tell it.
    Rule { call: 228, when: ALWAYS }, // clock_gettime
    // Channels and the signal descriptor.
    Rule { call: 0, when: ALWAYS }, // read
    // Channels, the console, a panic's last words.
    Rule { call: 1, when: ALWAYS }, // write
    // More heap: anonymous memory only, and never executable.
    Rule {
        call: 9, // mmap
        when: &[
            Bits { argument: 2, clear: PROT_EXEC, set: 0 },
            Bits { argument: 3, clear: 0, set: MAP_ANONYMOUS },
        ],
    },
    // Less heap.
    Rule { call: 11, when: ALWAYS }, // munmap
    // A channel whose peer is gone.
    Rule { call: 3, when: ALWAYS }, // close
    // A sleep that was interrupted by SIGSTOP and SIGCONT goes on.
    Rule { call: 219, when: ALWAYS }, // restart_syscall
    // The end.
    Rule { call: 231, when: ALWAYS }, // exit_group
];

/// The next peer of a channel that listens; it can neither block nor be inherited.
const ACCEPT: Rule = Rule { call: 288, when: &[Bits { argument: 3, clear: !QUIET, set: QUIET }] }; // accept4

/// Random bytes from the kernel, for a process that has no other source.
const RANDOM: Rule = Rule { call: 318, when: ALWAYS }; // getrandom

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const KILL_PROCESS: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;

/// How many system calls are left.
pub(crate) fn calls(needs: Needs) -> usize {
    RULES.len() + usize::from(needs.accept) + usize::from(needs.random)
}

/// The program: the right architecture, no x32 call, the list, and death for everything else.
pub(crate) fn program(needs: Needs) -> Vec<Instruction> {
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, X86_64, 1, 0),
        plain(RETURN, KILL_PROCESS),
        plain(LOAD, NUMBER),
        branch(IF_AT_LEAST, X32_BIT, 0, 1),
        plain(RETURN, KILL_PROCESS),
    ];
    let extra = [(needs.accept, &ACCEPT), (needs.random, &RANDOM)];
    let extra = extra.into_iter().filter_map(|(needed, rule)| needed.then_some(rule));
    RULES.iter().chain(extra).for_each(|rule| allow(rule, &mut program));
    program.push(plain(RETURN, KILL_PROCESS));
    program
}

/// Two instructions for the call, up to five for each argument that is looked at. A block ends in a verdict, so the
/// call's number is still loaded wherever the next block begins.
fn allow(rule: &Rule, program: &mut Vec<Instruction>) {
    let mut verdict = Vec::new();
    for bits in rule.when {
        verdict.push(plain(LOAD, ARGUMENTS + 8 * bits.argument));
        if bits.clear != 0 {
            verdict.push(branch(IF_ANY_BIT, bits.clear, 0, 1));
            verdict.push(plain(RETURN, KILL_PROCESS));
        }
        for bit in (0..u32::BITS).map(|at| 1 << at).filter(|bit| bits.set & bit != 0) {
            verdict.push(branch(IF_ANY_BIT, bit, 1, 0));
            verdict.push(plain(RETURN, KILL_PROCESS));
        }
    }
    verdict.push(plain(RETURN, ALLOW));
    let past = u8::try_from(verdict.len()).unwrap_or(u8::MAX);
    program.push(branch(IF_EQUAL, rule.call, 0, past));
    program.append(&mut verdict);
}

const fn plain(code: u16, operand: u32) -> Instruction {
    branch(code, operand, 0, 0)
}

const fn branch(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Needs = Needs { random: false, accept: false };

    /// What the kernel would say: the few instructions that the program uses, run on one call.
    fn verdict(needs: Needs, architecture: u32, call: u32, arguments: [u64; 6]) -> bool {
        let program = program(needs);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, operand } = program[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    loaded = match operand {
                        NUMBER => call,
                        ARCHITECTURE => architecture,
                        other => (arguments[(other as usize - 16) / 8] & 0xffff_ffff) as u32,
                    };
                    continue;
                }
                RETURN => return operand == ALLOW,
                IF_EQUAL => loaded == operand,
                IF_AT_LEAST => loaded >= operand,
                IF_ANY_BIT => loaded & operand != 0,
                other => panic!("no such instruction: {other}"),
            };
            at += usize::from(if holds { if_true } else { if_false });
        }
    }

    fn allowed(call: u32, arguments: [u64; 6]) -> bool {
        verdict(BARE, X86_64, call, arguments)
    }

    const FINE: [u64; 6] = [0, 4096, 3, 0x22, u64::MAX, 0];

    #[test]
    fn only_what_is_on_the_list_is_allowed() {
        let listed: Vec<u32> = (0..100_000).filter(|call| allowed(*call, FINE)).collect();
        assert_eq!(listed, [0, 1, 3, 9, 11, 19, 20, 219, 228, 231, 271]);
    }

    #[test]
    fn what_is_needed_is_added_and_nothing_else() {
        let random = Needs { random: true, accept: false };
        assert!(verdict(random, X86_64, 318, FINE) && !allowed(318, FINE));
        let accept = Needs { random: false, accept: true };
        let quiet = [3, 0, 0, u64::from(QUIET), 0, 0];
        assert!(verdict(accept, X86_64, 288, quiet) && !allowed(288, quiet));
        for flags in [0, 0x800, 0x8_0000, u64::from(QUIET) | 1] {
            assert!(!verdict(accept, X86_64, 288, [3, 0, 0, flags, 0, 0]), "{flags:#x}");
        }
    }

    #[test]
    fn another_architecture_is_death_whatever_the_call() {
        let i386 = 0x4000_0003;
        assert!((0..500).all(|call| !verdict(BARE, i386, call, FINE)));
    }

    #[test]
    fn the_x32_numbers_are_death_even_for_calls_on_the_list() {
        assert!((0..1000).all(|call| !allowed(X32_BIT | call, FINE)));
    }

    #[test]
    fn memory_is_anonymous_and_never_executable() {
        for prot in 0..8 {
            assert_eq!(allowed(9, [0, 4096, prot, 0x22, 0, 0]), prot & 4 == 0, "prot {prot}");
        }
        assert!(!allowed(9, [0, 4096, 1, 0x02, 3, 0]), "a file mapping");
        assert!(!allowed(9, [0, 4096, 4 | 1 << 32, 0x22, 0, 0]), "bits above do not hide it");
    }
}
