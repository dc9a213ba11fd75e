//! Which device files a container may use. On cgroup v1 a rule is a line in a file; cgroup v2 wants
//! a small BPF program (BPF_PROG_TYPE_CGROUP_DEVICE), which is assembled here instruction by
//! instruction, so that no compiler and no C library is needed.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::{
    fmt, fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::errno::Errno;

/// Kinds of device files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both kinds.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// Device files that may be used; several rules add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which kind.
    pub kind: Kind,
    /// Major number; `None` for all.
    pub major: Option<u32>,
    /// Minor number; `None` for all.
    pub minor: Option<u32>,
    /// May be opened for reading.
    pub read: bool,
    /// May be opened for writing.
    pub write: bool,
    /// May be created.
    pub make: bool,
}

impl Rule {
    /// Everything.
    pub const ALL: Self = Self { kind: Kind::All, major: None, minor: None, read: true, write: true, make: true };

    /// A character device with all access; `None` as minor number for all.
    pub const fn character(major: u32, minor: Option<u32>) -> Self {
        Self { kind: Kind::Character, major: Some(major), minor, read: true, write: true, make: true }
    }

    /// Creating device files of a kind, which by itself gives no access to them.
    pub const fn make(kind: Kind) -> Self {
        Self { kind, major: None, minor: None, read: false, write: false, make: true }
    }

    fn access(&self) -> i32 {
        i32::from(self.make) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// What containers may use that are not privileged (OCI runtime specification, "Default Devices").
pub const DEFAULT_RULES: [Rule; 11] = [
    Rule::make(Kind::Character),
    Rule::make(Kind::Block),
    Rule::character(1, Some(3)),
    Rule::character(1, Some(5)),
    Rule::character(1, Some(7)),
    Rule::character(1, Some(8)),
    Rule::character(1, Some(9)),
    Rule::character(5, Some(0)),
    Rule::character(5, Some(1)),
    Rule::character(5, Some(2)),
    Rule::character(136, None),
];

/// The form of `devices.allow` on cgroup v1.
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::All => 'a',
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(formatter, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        [(self.read, "r"), (self.write, "w"), (self.make, "m")]
            .into_iter()
            .filter(|(allowed, _)| *allowed)
            .try_for_each(|(_, letter)| formatter.write_str(letter))
    }
}

/// Attaches a program with these rules to a cgroup v2 directory. It stays as long as the group.
/// A second call does not widen what the first one allowed: every attached program must agree.
pub fn attach(cgroup: &Path, rules: &[Rule]) -> io::Result<()> {
    let directory = fs::File::open(cgroup)?;
    let program = load(&assemble(rules))?;
    let attributes = AttachAttributes {
        target: directory.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTIPLE,
    };
    bpf(COMMAND_ATTACH, &attributes).map(drop)
}

const COMMAND_LOAD: libc::c_int = 5;
const COMMAND_ATTACH: libc::c_int = 8;
const PROGRAM_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTIPLE: u32 = 2;
const ALL_ACCESS: i32 = 7;

/// The kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The part of `union bpf_attr` that loading reads.
#[repr(C)]
struct LoadAttributes {
    kind: u32,
    instructions: u32,
    first: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that attaching reads.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Registers hold: 2 the kind, 3 the access wanted, 4 the major and 5 the minor number.
fn assemble(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![load_word(2, 0), load_word(3, 0), and(2, 0xffff), shift_right(3, 16)];
    program.extend([load_word(4, 4), load_word(5, 8)]);
    for rule in rules {
        let mut checks: Vec<Vec<Instruction>> = Vec::new();
        match rule.kind {
            Kind::All => {}
            Kind::Block => checks.push(vec![jump_unless_equal(2, 1)]),
            Kind::Character => checks.push(vec![jump_unless_equal(2, 2)]),
        }
        if rule.access() != ALL_ACCESS {
            checks.push(vec![copy(1, 3), and(1, !rule.access()), jump_unless_equal(1, 0)]);
        }
        checks.extend(rule.major.map(|major| vec![jump_unless_equal(4, major as i32)]));
        checks.extend(rule.minor.map(|minor| vec![jump_unless_equal(5, minor as i32)]));
        program.extend(link(checks.concat()));
        if checks.is_empty() {
            // Nothing follows a rule that allows everything: the kernel refuses code that is never reached.
            return program;
        }
    }
    program.extend([set(0, 0), exit()]);
    program
}

/// Lets every jump of a rule lead behind the rule, and ends the rule with "allowed".
fn link(mut checks: Vec<Instruction>) -> Vec<Instruction> {
    checks.extend([set(0, 1), exit()]);
    let length = checks.len();
    for (position, instruction) in checks.iter_mut().enumerate() {
        if instruction.code == JUMP_UNLESS_EQUAL {
            instruction.offset = (length - position - 1) as i16;
        }
    }
    checks
}

const JUMP_UNLESS_EQUAL: u8 = 0x56;

fn jump_unless_equal(register: u8, value: i32) -> Instruction {
    Instruction { code: JUMP_UNLESS_EQUAL, registers: register, offset: 0, immediate: value }
}

fn load_word(register: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: 1 << 4 | register, offset, immediate: 0 }
}

fn and(register: u8, mask: i32) -> Instruction {
    Instruction { code: 0x54, registers: register, offset: 0, immediate: mask }
}

fn shift_right(register: u8, bits: i32) -> Instruction {
    Instruction { code: 0x74, registers: register, offset: 0, immediate: bits }
}

fn copy(to: u8, from: u8) -> Instruction {
    Instruction { code: 0xbc, registers: from << 4 | to, offset: 0, immediate: 0 }
}

fn set(register: u8, value: i32) -> Instruction {
    Instruction { code: 0xb4, registers: register, offset: 0, immediate: value }
}

fn exit() -> Instruction {
    Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 }
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = LoadAttributes {
        kind: PROGRAM_CGROUP_DEVICE,
        instructions: program.len() as u32,
        first: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(COMMAND_LOAD, &attributes)?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes, and what they point to, live through the call, and the size is theirs.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    Ok(Errno::result(result)? as libc::c_int)
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "tests say aloud what they skip")]
mod tests {
    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0i32; 6];
        let mut position = 0usize;
        loop {
            let instruction = program[position];
            let (to, from) = ((instruction.registers & 15) as usize, (instruction.registers >> 4) as usize);
            position += 1;
            match instruction.code {
                0x61 => registers[to] = context[instruction.offset as usize / 4],
                0x54 => registers[to] &= instruction.immediate,
                0x74 => registers[to] = (registers[to] as u32 >> instruction.immediate) as i32,
                0xbc => registers[to] = registers[from],
                0xb4 => registers[to] = instruction.immediate,
                0x95 => return registers[0],
                JUMP_UNLESS_EQUAL if registers[to] != instruction.immediate => {
                    position += instruction.offset as usize;
                }
                _ => {}
            }
        }
    }

    #[test]
    fn allows_what_a_rule_allows_and_nothing_else() {
        let program = assemble(&DEFAULT_RULES);
        assert_eq!(run(&program, 2, 2, 1, 3), 1, "reading /dev/null");
        assert_eq!(run(&program, 2, 6, 136, 17), 1, "any pseudo terminal");
        assert_eq!(run(&program, 1, 1, 8, 0), 1, "creating a disk's file");
        assert_eq!(run(&program, 1, 2, 8, 0), 0, "reading a disk");
        assert_eq!(run(&program, 1, 3, 8, 0), 0, "creating and reading a disk");
        assert_eq!(run(&program, 2, 2, 1, 1), 0, "reading memory");
        assert_eq!(run(&assemble(&[Rule::ALL]), 1, 7, 8, 0), 1);
        assert_eq!(run(&assemble(&[]), 2, 2, 1, 3), 0);
    }

    #[test]
    fn writes_rules_as_cgroup_v1_wants_them() {
        assert_eq!(Rule::character(136, None).to_string(), "c 136:* rwm");
        assert_eq!(Rule::make(Kind::Block).to_string(), "b *:* m");
        assert_eq!(Rule::ALL.to_string(), "a *:* rwm");
    }

    #[test]
    fn the_kernel_accepts_the_program() {
        for rules in [&DEFAULT_RULES[..], &[Rule::ALL, Rule::make(Kind::Block)], &[]] {
            match load(&assemble(rules)) {
                Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                    eprintln!("SKIPPED: this kernel or user may not load the program: {error}");
                }
                result => drop(result.unwrap()),
            }
        }
    }
}
