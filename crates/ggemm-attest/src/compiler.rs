//! Which compiler made a cubin.

/// The version of the assembler that made this cubin, such as `13.0.88`, by the note that it left there; `None` for
/// bytes without one.
pub fn compiler_of(cubin: &[u8]) -> Option<&str> {
    const NOTE: &[u8] = b"Cuda compilation tools, release ";
    let start = cubin.windows(NOTE.len()).position(|window| window == NOTE)? + NOTE.len();
    let text = cubin.get(start..)?;
    let text = std::str::from_utf8(text.get(..text.iter().position(|byte| *byte == 0)?)?).ok()?;
    let (_, version) = text.split_once(", V")?;
    let well_formed = version.split('.').count() == 3
        && version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    well_formed.then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_says_the_version() {
        let cubin = |text: &str| [b"\x7fELF\0ptxas\0", text.as_bytes(), b"\0Build cuda_13.0\0"].concat();
        assert_eq!(compiler_of(&cubin("Cuda compilation tools, release 13.0, V13.0.88")), Some("13.0.88"));
        for other in ["", "Cuda compilation tools, release 13.0", "Cuda compilation tools, release 13.0, V13..8"] {
            assert_eq!(compiler_of(&cubin(other)), None, "{other}");
        }
        assert_eq!(compiler_of(b"Cuda compilation tools, release 13.0, V13.0.88"), None, "no end");
    }
}
