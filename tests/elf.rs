//! What the shipped ELF is made of: asked of the file itself, not of the flags that should have made it so.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::OnceLock;

type Elf = ElfFile64<'static, Endianness>;

const LITTLE: Endianness = Endianness::Little;
const LARGEST: usize = 3 << 20;

// Tags of the dynamic section.
const DT_NEEDED: u64 = 1;
const DT_RELA: u64 = 7;
const DT_TEXTREL: u64 = 22;
const DT_JMPREL: u64 = 23;
const DT_FLAGS: u64 = 30;
const DF_BIND_NOW: u64 = 8;

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

#[test]
fn it_is_a_static_pie() {
    let kinds = kinds();
    assert_eq!(elf().elf_header().e_type(LITTLE), elf::ET_DYN);
    assert!(!kinds.contains(&elf::PT_INTERP), "it wants an interpreter");
    let needed = dynamic().into_iter().filter(|(tag, _)| *tag == DT_NEEDED).count();
    assert_eq!(needed, 0, "it wants libraries");
}

#[test]
fn no_segment_is_writable_and_executable() {
    for header in elf().elf_program_headers() {
        let flags = header.p_flags(LITTLE);
        assert_ne!(flags.0 & (elf::PF_W | elf::PF_X).0, (elf::PF_W | elf::PF_X).0, "a segment is both");
    }
    let stack = elf().elf_program_headers().iter().find(|header| header.p_type(LITTLE) == elf::PT_GNU_STACK);
    assert_eq!(stack.unwrap().p_flags(LITTLE).0 & elf::PF_X.0, 0, "the stack is executable");
}

#[test]
fn what_relocation_writes_is_sealed_afterwards() {
    let relro = elf().elf_program_headers().iter().find(|header| header.p_type(LITTLE) == elf::PT_GNU_RELRO);
    let relro = relro.expect("no PT_GNU_RELRO");
    let sealed = relro.p_vaddr(LITTLE)..relro.p_vaddr(LITTLE) + relro.p_memsz(LITTLE);
    assert_eq!(sealed.end % 4096, 0, "the seal ends inside a page");
    for name in [".data.rel.ro", ".got", ".init_array", ".dynamic"] {
        let section = elf().section_by_name(name).unwrap();
        assert!(sealed.contains(&section.address()), "{name} stays writable");
    }
    assert!(dynamic().contains(&(DT_FLAGS, DF_BIND_NOW)));
}

#[test]
fn every_relocation_is_one_that_the_start_knows() {
    let moved = words_that_move(elf().section_by_name(".relr.dyn").unwrap().data().unwrap());
    assert!(moved.len() > 1000, "only {} words are relocated", moved.len());
    let writable: Vec<_> = elf().elf_program_headers().iter().filter(|header| writable(header)).collect();
    for address in moved {
        let inside = |header: &&&elf::ProgramHeader64<Endianness>| {
            let start = header.p_vaddr(LITTLE);
            (start..start + header.p_filesz(LITTLE)).contains(&address)
        };
        assert!(writable.iter().any(|header| inside(&header)), "{address:#x} cannot be relocated");
    }
    let known = dynamic().into_iter().map(|(tag, _)| tag).collect::<BTreeSet<_>>();
    for other in [DT_RELA, DT_JMPREL, DT_TEXTREL] {
        assert!(!known.contains(&other), "relocations that nobody applies: tag {other}");
    }
}

fn writable(header: &elf::ProgramHeader64<Endianness>) -> bool {
    header.p_type(LITTLE) == elf::PT_LOAD && header.p_flags(LITTLE).0 & elf::PF_W.0 != 0
}

/// The addresses behind DT_RELR: an even word is one, an odd one tells which of the next 63 words are.
fn words_that_move(table: &[u8]) -> Vec<u64> {
    let mut moved = Vec::new();
    let mut next = 0;
    for entry in table.chunks_exact(8) {
        let entry = u64::from_le_bytes(entry.try_into().unwrap());
        if entry & 1 == 0 {
            moved.push(entry);
            next = entry + 8;
        } else {
            moved.extend((0..63).filter(|bit| entry >> (bit + 1) & 1 == 1).map(|bit| next + 8 * bit));
            next += 63 * 8;
        }
    }
    moved
}

#[test]
fn the_xen_note_names_the_door() {
    let note = elf().section_by_name(".note.Xen").unwrap().data().unwrap();
    let words: Vec<u32> =
        note[..12].chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect();
    assert_eq!(words, [4, 8, XEN_ELFNOTE_PHYS32_ENTRY]);
    assert_eq!(&note[12..16], b"Xen\0");
    let entry = u64::from_le_bytes(note[16..24].try_into().unwrap());
    let door = elf().symbol_by_name("pvh_start32").unwrap();
    assert_eq!(entry, door.address());
    let code = elf().section_by_name(".text").unwrap();
    assert!((code.address()..code.address() + code.size()).contains(&entry), "the door is not code");
}

#[test]
fn it_is_small() {
    let stripped = tempfile::NamedTempFile::new().unwrap();
    let status =
        Command::new("strip").arg("-o").arg(stripped.path()).arg(bench::appliance()).status().unwrap();
    assert!(status.success());
    let size = usize::try_from(stripped.path().metadata().unwrap().len()).unwrap();
    assert!(size <= LARGEST, "{size} bytes are more than {LARGEST}");
}

#[test]
fn it_wants_nothing_from_anybody() {
    let symbols = elf().symbols().filter(ObjectSymbol::is_undefined);
    let wanted: Vec<&str> =
        symbols.filter_map(|symbol| symbol.name().ok()).filter(|name| !name.is_empty()).collect();
    // Weak ones that std can do without.
    assert!(wanted.iter().all(|name| weak(name)), "{wanted:?}");
}

#[test]
fn no_name_of_a_thread_a_socket_or_a_library_is_in_it() {
    let symbols = elf().symbols().filter_map(|symbol| symbol.name().ok());
    let names: BTreeSet<&str> = symbols.collect();
    for name in ["pthread_create", "clone", "fork", "socket", "connect", "bind", "dlsym", "dlopen", "execve"]
    {
        assert!(!names.contains(name), "{name}");
    }
}

#[test]
fn the_cpus_own_randomness_is_asked_in_one_function() {
    // The instructions, not the names of functions that are called.
    let functions = functions_with(&["\trdrand", "\trdseed"]);
    assert_eq!(functions.len(), 1, "{functions:?}");
}

#[test]
fn c_code_guards_its_frames() {
    let has_c =
        elf().symbols().filter_map(|symbol| symbol.name().ok()).any(|name| name.starts_with("ring_core"));
    let guards = functions_with(&["%fs:0x28,"]);
    assert_eq!(!guards.is_empty(), has_c, "frames with a canary: {guards:?}; ring is there: {has_c}");
}

fn weak(name: &str) -> bool {
    elf().symbol_by_name(name).is_some_and(|symbol| symbol.is_weak())
}

/// The functions in which one of these words stands in the disassembly.
fn functions_with(words: &[&str]) -> BTreeSet<String> {
    let objdump = Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(bench::appliance()).output();
    let listing = String::from_utf8(objdump.unwrap().stdout).unwrap();
    assert!(listing.contains("<_start>:"), "objdump shows no code");
    let (mut here, mut found) = ("", BTreeSet::new());
    for line in listing.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            here = name;
        } else if words.iter().any(|word| line.contains(word)) {
            found.insert(here.to_owned());
        }
    }
    found
}

fn kinds() -> Vec<elf::ProgramType> {
    elf().elf_program_headers().iter().map(|header| header.p_type(LITTLE)).collect()
}

/// The dynamic section, tag by tag.
fn dynamic() -> Vec<(u64, u64)> {
    let table = elf().section_by_name(".dynamic").unwrap().data().unwrap();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    table.chunks_exact(16).map(|entry| (word(&entry[..8]), word(&entry[8..]))).collect()
}

fn elf() -> &'static Elf {
    static ELF: OnceLock<Elf> = OnceLock::new();
    ELF.get_or_init(|| {
        let bytes: &'static [u8] = std::fs::read(bench::appliance()).unwrap().leak();
        Elf::parse(bytes).unwrap()
    })
}
