//! Filling a cache before anybody waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{Cache, Origin};
use crate::compile::{CompileError, Request};
use crate::toolchain::Compiler;

impl Cache {
    /// Compiles what the cache does not have yet of `requests`, `threads` (at least one) at a time, and tells of each
    /// as it is done: its index, and where its cubin came from or why there is none. One that fails keeps no other.
    pub fn warm(
        &self,
        compiler: &Compiler,
        requests: &[Request<'_>],
        threads: usize,
        done: impl Fn(usize, Result<Origin, CompileError>) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads.clamp(1, requests.len().max(1)) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(request) = requests.get(index) else { break };
                        done(index, self.get_or_compile(compiler, request).map(|(_, origin)| origin));
                    }
                });
            }
        });
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cache::CacheLocation;
    use crate::target::Target;
    use crate::toolchain::Nvcc;

    #[test]
    fn each_is_compiled_once_and_a_failure_keeps_no_other() {
        let root = tempfile::tempdir().unwrap();
        let nvcc = root.path().join("nvcc");
        let answer = "echo 'Cuda compilation tools, release 9.9, V9.9.9'";
        let log = root.path().join("log");
        let compile = format!("grep -q bad *.cu && exit 1; echo x >> {}; printf '\\177ELF' > out.cubin", log.display());
        crate::testing::script(&nvcc, &format!("if [ \"$1\" = --version ]; then {answer}; exit; fi; {compile}"));
        let compiler = Compiler::from(Nvcc::at(nvcc).unwrap());
        let cache = Cache::open(CacheLocation::At(root.path().join("cache")));
        let target: Target = "sm_80".parse().unwrap();
        let requests = ["one", "two", "bad", "three", "four"].map(|name| Request::new(name, name, &target));
        let warm = |requests: &[Request<'_>], threads| {
            let found = Mutex::new(Vec::new());
            cache.warm(&compiler, requests, threads, |index, result| found.lock().unwrap().push((index, result.ok())));
            let mut found = found.into_inner().unwrap();
            found.sort_by_key(|(index, _)| *index);
            found
        };
        let new = |index| (index, Some(Origin::Compiled));
        assert_eq!(warm(&requests, 3), [new(0), new(1), (2, None), new(3), new(4)]);
        let hit = |index| (index, Some(Origin::Hit));
        assert_eq!(warm(&requests[..2], 0), [hit(0), hit(1)]);
        assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 4);
        assert_eq!(warm(&[], 2), []);
    }
}
