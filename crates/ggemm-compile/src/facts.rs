//! What ptxas says about the code it made.

use serde::{Deserialize, Serialize};

/// What one compilation uses of the machine, as `ptxas -v` reports it.
///
/// Each number is the largest over the functions in the cubin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// Registers a thread.
    pub registers: u32,
    /// Bytes a thread stores to local memory for want of registers.
    pub spill_store_bytes: u32,
    /// Bytes a thread loads back from local memory for want of registers.
    pub spill_load_bytes: u32,
    /// Bytes of local memory a thread's stack takes: arrays that are indexed at run time, and spills.
    pub stack_bytes: u32,
    /// Bytes of shared memory a block takes statically. Dynamic shared memory is not in it.
    pub shared_bytes: u32,
    /// Bytes of constant memory, the largest bank. Not reported for every architecture.
    pub constant_bytes: u32,
    /// Named barriers a block uses.
    pub barriers: u32,
}

impl Facts {
    /// Reads a compiler's output. `None` if it reports no kernel.
    ///
    /// Both nvcc's and NVRTC's outputs are understood; they indent differently.
    #[must_use]
    pub fn parse(log: &str) -> Option<Self> {
        let mut facts = Self::default();
        let mut seen = false;
        for line in log.lines() {
            if line.contains("bytes stack frame") {
                facts.read_local_memory(line);
            } else if let Some((_, usage)) = line.split_once(": Used ") {
                seen |= facts.read_usage(usage);
            }
        }
        seen.then_some(facts)
    }

    /// Whether the code has more live values than registers.
    #[must_use]
    pub fn spills(&self) -> bool {
        self.spill_store_bytes > 0 || self.spill_load_bytes > 0
    }

    /// `    16 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads`
    fn read_local_memory(&mut self, line: &str) {
        for item in line.split(',') {
            let words: Vec<&str> = item.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "bytes") else { continue };
            let Some(bytes) = at.checked_sub(1).and_then(|before| words[before].parse().ok()) else { continue };
            match words[at + 1..] {
                ["stack", "frame"] => raise(&mut self.stack_bytes, bytes),
                ["spill", "stores"] => raise(&mut self.spill_store_bytes, bytes),
                ["spill", "loads"] => raise(&mut self.spill_load_bytes, bytes),
                _ => {}
            }
        }
    }

    /// `10 registers, used 1 barriers, 1024 bytes smem, 376 bytes cmem[0]`. Whether it named registers.
    fn read_usage(&mut self, usage: &str) -> bool {
        let mut named_registers = false;
        for item in usage.split(',') {
            let item = item.trim();
            let item = item.strip_prefix("used ").unwrap_or(item);
            let Some((number, what)) = item.split_once(' ') else { continue };
            let Ok(number) = number.parse() else { continue };
            match what {
                "registers" => {
                    raise(&mut self.registers, number);
                    named_registers = true;
                }
                "barriers" => raise(&mut self.barriers, number),
                "bytes smem" => raise(&mut self.shared_bytes, number),
                "bytes cumulative stack size" => raise(&mut self.stack_bytes, number),
                _ if what.starts_with("bytes cmem[") => raise(&mut self.constant_bytes, number),
                _ => {}
            }
        }
        named_registers
    }
}

fn raise(largest: &mut u32, value: u32) {
    *largest = value.max(*largest);
}

/// The lines of a compiler's output that warn: of the source, or of code that will run slowly.
///
/// Beside the lines that say "warning" these are ptxas' numbered remarks, which it prints as information: wgmma
/// serialized, a wait injected, setmaxnreg ignored.
#[must_use]
pub fn warnings(log: &str) -> Vec<String> {
    log.lines().map(str::trim).filter(|line| warns(line)).map(str::to_owned).collect()
}

fn warns(line: &str) -> bool {
    // nvcc ends its warnings with "Remark: The warnings can be suppressed with …".
    if line.starts_with("Remark:") {
        return false;
    }
    let numbered_remark =
        line.strip_prefix("ptxas info").is_some_and(|rest| rest.trim_start_matches([' ', ':']).starts_with("(C"));
    numbered_remark || line.to_ascii_lowercase().contains("warning") || line.contains("Potential Performance Loss")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The logs below are what nvcc 13.0.88 and NVRTC 13.0 printed.

    #[test]
    fn nvcc_plain_kernel() {
        let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'saxpy' for 'sm_80'
ptxas info    : Function properties for saxpy
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 1 barriers, 1024 bytes smem, 376 bytes cmem[0]
ptxas info    : Compile time = 17.104 ms
";
        let facts = Facts::parse(log).unwrap();
        let expected =
            Facts { registers: 10, barriers: 1, shared_bytes: 1024, constant_bytes: 376, ..Facts::default() };
        assert_eq!(facts, expected);
        assert!(!facts.spills());
        assert_eq!(warnings(log), Vec::<String>::new());
    }

    #[test]
    fn nvrtc_indents_differently() {
        let log = "\
ptxas info    : Compiling entry function 'saxpy' for 'sm_90a'
ptxas info    : Function properties for saxpy
ptxas         .     48 bytes stack frame, 40 bytes spill stores, 44 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers, 1024 bytes smem
";
        let facts = Facts::parse(log).unwrap();
        assert_eq!(facts.registers, 24);
        assert_eq!((facts.stack_bytes, facts.spill_store_bytes, facts.spill_load_bytes), (48, 40, 44));
        assert!(facts.spills());
    }

    #[test]
    fn the_worst_of_several_kernels_counts() {
        let log = "\
ptxas info    : Compiling entry function 'spilly' for 'sm_90a'
ptxas info    : Function properties for spilly
    976 bytes stack frame, 1588 bytes spill stores, 1772 bytes spill loads
ptxas info    : Used 32 registers, used 1 barriers, 976 bytes cumulative stack size
ptxas info    : Compiling entry function 'stacky' for 'sm_90a'
ptxas info    : Function properties for stacky
    256 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 256 bytes cumulative stack size
";
        let facts = Facts::parse(log).unwrap();
        let expected = Facts {
            registers: 40,
            barriers: 1,
            stack_bytes: 976,
            spill_store_bytes: 1588,
            spill_load_bytes: 1772,
            ..Facts::default()
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_stack_reported_only_as_cumulative_is_seen() {
        let facts =
            Facts::parse("ptxas info    : Used 10 registers, used 0 barriers, 32 bytes cumulative stack size\n");
        assert_eq!(facts.unwrap().stack_bytes, 32);
    }

    #[test]
    fn no_kernel_no_facts() {
        assert_eq!(Facts::parse(""), None);
        assert_eq!(Facts::parse("ptxas info    : 0 bytes gmem\nptxas info    : Compile time = 1 ms\n"), None);
        assert_eq!(Facts::parse("    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"), None);
    }

    #[test]
    fn serialized_wgmma_injected_waits_and_ignored_setmaxnreg_warn() {
        let lines = [
            "ptxas info    : (C7517) warpgroup.wait is injected in around line 62 by compiler to allow use of \
             registers defined by GMMA in function 'serial'",
            "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to \
             insufficient register resources for the wgmma pipeline in the function 'serial'",
            "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register \
             count at entry.",
            "ptxas warning : Value of threads per SM for entry k is out of range. .minnctapersm will be ignored",
        ];
        for line in lines {
            assert_eq!(warnings(&format!("ptxas info    : 0 bytes gmem\n{line}\n")), [line]);
        }
    }

    #[test]
    fn a_source_warning_counts_once() {
        let log = "\
m.cu(4): warning #177-D: variable \"unused\" was declared but never referenced
    int unused = 3;
        ^

Remark: The warnings can be suppressed with \"-diag-suppress <warning-number>\"
";
        assert_eq!(warnings(log), ["m.cu(4): warning #177-D: variable \"unused\" was declared but never referenced"]);
    }
}
