//! Machine code at build time: compiled, or taken from the cache of compilations, and compressed.

use std::ffi::OsString;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use ggemm_codegen::Arch;
use ggemm_compile::{Cache, CacheLocation, Compiler, Nvcc, NvccError, Request, Target};

use super::module::{Cubin, Kernel};
use super::parallel;

/// A compiler and its cache.
pub(super) struct Baker {
    compiler: Compiler,
    cache: Cache,
}

/// One cubin to make.
struct Job {
    kernel: usize,
    name: String,
    source: String,
    arch: Arch,
}

impl Baker {
    /// Finds the compiler and the cache through the environment.
    pub(super) fn find(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, NvccError> {
        let compiler = Nvcc::find_in(environment)?.into();
        Ok(Baker { compiler, cache: Cache::open(CacheLocation::from_lookup(environment)) })
    }

    /// Gives each kernel the cubins for its targets (`targets` has an entry for each kernel), compiling on all cores.
    ///
    /// # Errors
    /// The first kernel's that failed.
    pub(super) fn bake(&self, kernels: &mut [Kernel], targets: &[&[Arch]]) -> Result<(), String> {
        let jobs = kernels.iter().zip(targets).enumerate().flat_map(|(index, (kernel, targets))| {
            let job = |arch: &Arch| Job {
                kernel: index,
                name: kernel.name.clone(),
                source: kernel.source.concat(),
                arch: *arch,
            };
            targets.iter().map(job).collect::<Vec<_>>()
        });
        let jobs: Vec<Job> = jobs.collect();
        for (job, cubin) in jobs.iter().zip(parallel::map(&jobs, |job| self.make(job))) {
            if let Some(kernel) = kernels.get_mut(job.kernel) {
                kernel.cubins.push(cubin?);
            }
        }
        Ok(())
    }

    fn make(&self, job: &Job) -> Result<Cubin, String> {
        let target: Target = job.arch.name().parse().map_err(|error| format!("{error}"))?;
        let request = Request::new(&job.name, &job.source, &target);
        let (cubin, _) = self.cache.get_or_compile(&self.compiler, &request).map_err(|error| error.to_string())?;
        let gzip = compress(&cubin.bytes).map_err(|error| format!("cannot compress `{}`: {error}", job.name))?;
        Ok(Cubin { target: job.arch.name(), gzip })
    }
}

/// The header holds no time and no name, so that equal cubins stay equal.
fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
