//! Faults planted by hand into small kernels: each is found in every schedule, and by its name.

use ggemm_codegen::Dtype;
use ggemm_codegen::Problem;
use ggemm_codegen::dsl::{Barriers, Grid, I32, KernelBuilder, Map, SharedTiles, WarpgroupSums};
use ggemm_codegen::dsl::{Cta, Var};
use ggemm_codegen::geometry::warpgroup_map;
use ggemm_codegen::interp::{FindingKind, Memory, run};
use ggemm_codegen::ir::{AtomicScope, MemoryOrder, ParamRole, RegisterBudget, TensorMap};
use ggemm_codegen::layout::Layout;

use crate::ground::schedules;

/// Builds a kernel and runs it under every schedule on two CTAs: the names of what was found, without repetition.
fn found(threads: u32, write: impl for<'k> Fn(&mut KernelBuilder<'k>)) -> Vec<&'static str> {
    let kernel = KernelBuilder::build("fault", "a test", threads, 16, |k| write(k)).expect("a well-formed kernel");
    let problem = Problem::forward(1, 64, 64, 64).contraction();
    let mut names = Vec::new();
    for settings in schedules(3, 2) {
        let mut memory = Memory::for_problem(&problem);
        memory.a.fill(|i| (i % 5) as f32);
        memory.b.fill(|i| (i % 3) as f32);
        memory.groups.set_integers(&[64]);
        let name = match run(&kernel, &problem, &mut memory, settings) {
            Ok(_) => "nothing",
            Err(finding) => finding.kind.name(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A tile of A, where its bytes are counted, and the map that leads to it.
struct Load {
    tile: SharedTiles,
    full: Barriers,
    map: Map,
    bytes: u32,
}

impl Load {
    fn declare(k: &mut KernelBuilder<'_>) -> Load {
        let layout = Layout::swizzled_panels(64, 64, 2);
        Load {
            map: k.tensor_map("a", TensorMap::matrix(Dtype::Bf16, 64, 64, false), ParamRole::A),
            tile: k.bulk_tiles("tile", Dtype::Bf16, &layout, 1),
            full: k.barriers("full", 1, 1),
            bytes: layout.bytes(),
        }
    }

    /// Warp 0 loads the tile and announces `bytes`.
    fn start(&self, k: &mut KernelBuilder<'_>, bytes: u32) {
        self.start_at(k, bytes, [0, 0]);
    }

    /// The same from a column and a row on.
    fn start_at(&self, k: &mut KernelBuilder<'_>, bytes: u32, at: [i32; 2]) {
        let first = k.warp().equals(0);
        let zero = k.int(0);
        let at = at.map(|coordinate| k.int(coordinate).coordinate());
        k.when(first, |k| {
            k.elect(|k| {
                k.arrive_expect(self.full.slot(zero), bytes);
                k.bulk_load(self.map, &at, &self.tile.only(k), self.full.slot(zero));
            });
        });
    }

    fn wait(&self, k: &mut KernelBuilder<'_>, parity: i32) {
        let zero = k.int(0);
        k.await_phase(self.full.slot(zero), parity);
    }
}

/// A warpgroup's product of a tile with itself.
struct Square {
    load: Load,
    sums: WarpgroupSums,
}

impl Square {
    fn declare(k: &mut KernelBuilder<'_>) -> Square {
        Square { load: Load::declare(k), sums: k.warpgroup_sums("sums", warpgroup_map(1, 64, 1)) }
    }

    fn multiply(&self, k: &mut KernelBuilder<'_>) {
        let tile = self.load.tile.only(k);
        let keep = k.always();
        k.warpgroup_multiply(self.sums, tile.k_major(), tile.k_major(), 0, keep);
    }
}

fn ready(k: &mut KernelBuilder<'_>) {
    k.init_barriers();
    k.barrier();
}

#[test]
fn loads_that_nobody_waited_for() {
    let square = |wait: bool| {
        move |k: &mut KernelBuilder<'_>| {
            let s = Square::declare(k);
            ready(k);
            s.load.start(k, s.load.bytes);
            if wait {
                s.load.wait(k, 0);
            }
            k.zero_sums(s.sums);
            k.fence_products();
            s.multiply(k);
            k.commit_products();
            k.await_products(0);
        }
    };
    assert_eq!(found(128, square(true)), ["nothing"]);
    // The other warps may be there before the load has begun.
    let early = found(128, square(false));
    assert!(early.iter().all(|n| ["use before arrival", "uninitialized read"].contains(n)), "{early:?}");
    let abandoned = found(32, |k| {
        let load = Load::declare(k);
        ready(k);
        load.start(k, load.bytes);
    });
    assert_eq!(abandoned, ["left running"]);
}

#[test]
fn bytes_that_do_not_add_up() {
    for (wrong, expected) in [(0, "nothing"), (16, "byte mismatch"), (-16, "byte mismatch")] {
        let names = found(32, move |k| {
            let load = Load::declare(k);
            ready(k);
            load.start(k, load.bytes.wrapping_add_signed(wrong));
            load.wait(k, 0);
        });
        assert_eq!(names, [expected], "{wrong} bytes more");
    }
}

/// Rows may begin anywhere, columns at multiples of 16 bytes: of 8 elements, before the tensor too.
#[test]
fn boxes_that_begin_in_the_midst_of_16_bytes() {
    let at = |at: [i32; 2]| {
        found(128, move |k| {
            let load = Load::declare(k);
            ready(k);
            load.start_at(k, load.bytes, at);
            load.wait(k, 0);
        })
    };
    for column in [-64, -8, 0, 8, 56] {
        assert_eq!(at([column, 3]), ["nothing"], "column {column}");
    }
    for column in [-1, 1, 4, 7, 9, 63] {
        assert_eq!(at([column, 8]), ["unaligned box"], "column {column}");
    }
}

#[test]
fn arrivals_that_do_not_add_up() {
    let arrivals = |expected: u32, made: u32| {
        found(32, move |k| {
            let barrier = k.barriers("barrier", 1, expected);
            ready(k);
            let zero = k.int(0);
            for _ in 0..made {
                k.elect(|k| k.arrive(barrier.slot(zero)));
            }
            k.await_phase(barrier.slot(zero), 0);
        })
    };
    assert_eq!(arrivals(2, 2), ["nothing"]);
    assert_eq!(arrivals(2, 3), ["arrival mismatch"]);
    assert_eq!(arrivals(2, 1), ["deadlock"]);
}

#[test]
fn a_deadlock_says_who_waits_for_which_phase_of_what() {
    let kernel = KernelBuilder::build("k", "a test", 64, 16, |k| {
        let barrier = k.barriers("stage_full", 2, 3);
        ready(k);
        let one = k.int(1);
        k.elect(|k| k.arrive(barrier.slot(one)));
        k.await_phase(barrier.slot(one), 0);
    })
    .unwrap();
    let problem = Problem::forward(1, 64, 64, 64).contraction();
    let mut memory = Memory::for_problem(&problem);
    let finding = run(&kernel, &problem, &mut memory, Default::default()).unwrap_err();
    let text = finding.kind.to_string();
    assert!(matches!(finding.kind, FindingKind::Deadlock { .. }), "{text}");
    for part in ["warp 1 waits for a phase of parity 0", "stage_full[1] of CTA 0 in phase 0", "2 of 3 arrivals"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(finding.statement, "await");
}

#[test]
fn barriers_before_they_are_ready() {
    let begin = |init: bool, meet: bool| {
        found(64, move |k| {
            let barrier = k.barriers("barrier", 1, 2);
            if init {
                k.init_barriers();
            }
            if meet {
                k.barrier();
            }
            let zero = k.int(0);
            k.elect(|k| k.arrive(barrier.slot(zero)));
            k.await_phase(barrier.slot(zero), 0);
        })
    };
    assert_eq!(begin(true, true), ["nothing"]);
    assert_eq!(begin(true, false), ["barrier not ready"]);
    assert_eq!(begin(false, true), ["barrier not ready"]);
}

/// Sums go through a tile to D: what fences, meetings and waits are for.
fn store(proxy: bool, meet: bool, wait: bool, again: bool) -> Vec<&'static str> {
    found(128, move |k| {
        let sums = k.warpgroup_sums("sums", warpgroup_map(1, 64, 1));
        let layout = Layout::swizzled_panels(64, 64, 2);
        let map = k.tensor_map("d", TensorMap::matrix(Dtype::Bf16, 64, 64, false), ParamRole::D);
        let tile = k.bulk_tiles("d_tile", Dtype::Bf16, &layout, 1).only(k);
        k.zero_sums(sums);
        k.store_fragment(sums, &tile, 0, 0);
        if proxy {
            k.fence_proxy();
        }
        if meet {
            k.barrier();
        }
        // One of the two CTAs stores.
        let first = k.warp().equals(0);
        let mine = k.cta().equals(0);
        let zero = k.int(0);
        k.when(mine & first, |k| {
            k.elect(|k| {
                k.bulk_store(&tile, map, &[zero.coordinate(); 2]);
                k.commit_stores();
                if wait {
                    k.await_store_reads(0);
                } else {
                    k.await_store_reads(1);
                }
            });
        });
        if again {
            k.store_fragment(sums, &tile, 0, 0);
        }
    })
}

#[test]
fn stores_through_shared_memory() {
    assert_eq!(store(true, true, true, false), ["nothing"]);
    assert_eq!(store(false, true, true, false), ["missing proxy fence"]);
    let unmet = store(true, false, true, false);
    assert!(unmet.iter().all(|n| ["unordered read", "uninitialized read"].contains(n)), "{unmet:?}");
    assert_eq!(store(true, true, false, false), ["left running"]);
    // The other warps do not know that the store has read the tile.
    let early = store(true, true, true, true);
    assert!(early.contains(&"overwrite while read") || early.contains(&"overwrite in flight"), "{early:?}");
}

#[test]
fn a_store_that_still_reads_is_not_written_over() {
    let names = found(128, |k| {
        let sums = k.warpgroup_sums("sums", warpgroup_map(1, 64, 1));
        let layout = Layout::swizzled_panels(64, 64, 2);
        let map = k.tensor_map("d", TensorMap::matrix(Dtype::Bf16, 64, 64, false), ParamRole::D);
        let tile = k.bulk_tiles("d_tile", Dtype::Bf16, &layout, 1).only(k);
        k.zero_sums(sums);
        k.store_fragment(sums, &tile, 0, 0);
        k.fence_proxy();
        k.barrier();
        let (first, mine, zero) = (k.warp().equals(0), k.cta().equals(0), k.int(0));
        k.when(mine & first, |k| {
            k.elect(|k| {
                k.bulk_store(&tile, map, &[zero.coordinate(); 2]);
                k.commit_stores();
            });
        });
        k.barrier();
        k.when(mine, |k| k.store_fragment(sums, &tile, 0, 0));
        k.await_stores(0);
    });
    assert_eq!(names, ["overwrite in flight"]);
}

/// Loads a tile, multiplies it with itself, and does `then`.
fn products(fence: bool, then: impl Fn(&mut KernelBuilder<'_>, &Square)) -> Vec<&'static str> {
    found(128, move |k| {
        let s = Square::declare(k);
        ready(k);
        s.load.start(k, s.load.bytes);
        s.load.wait(k, 0);
        k.zero_sums(s.sums);
        if fence {
            k.fence_products();
        }
        s.multiply(k);
        k.commit_products();
        then(k, &s);
    })
}

#[test]
fn sums_in_flight_are_owned_until_awaited() {
    assert_eq!(products(true, |k, _| k.await_products(0)), ["nothing"]);
    assert_eq!(products(false, |k, _| k.await_products(0)), ["missing product fence"]);
    assert_eq!(products(true, |k, _| k.await_products(1)), ["left running"]);
    let touched = products(true, |k, s| {
        k.await_products(1);
        k.zero_sums(s.sums);
        k.await_products(0);
    });
    assert_eq!(touched, ["accumulator in flight"]);
    let again = products(true, |k, s| {
        k.await_products(0);
        k.zero_sums(s.sums);
        s.multiply(k);
        k.commit_products();
        k.await_products(0);
    });
    assert_eq!(again, ["missing product fence"], "after sums are touched, a fence must come again");
}

#[test]
fn what_products_still_read_is_not_loaded_over() {
    let reload = |pending: u32, meet: bool| {
        products(true, move |k, s| {
            k.await_products(pending);
            if meet {
                k.barrier();
            }
            s.load.start(k, s.load.bytes);
            k.await_products(0);
            s.load.wait(k, 1);
        })
    };
    assert_eq!(reload(0, true), ["nothing"]);
    let early = reload(1, true);
    assert!(early.iter().all(|n| ["overwrite in flight", "overwrite while read"].contains(n)), "{early:?}");
    // Without a meeting, another warp may still wait for the first load, or never learn of it.
    assert!(!reload(0, false).contains(&"nothing"));
}

/// A cluster of two whose first CTA loads a tile for both.
fn multicast(mask: i32, hold: bool, meet: bool) -> Vec<&'static str> {
    found(32, move |k| {
        k.clusters_of(2);
        let load = Load::declare(k);
        let done = k.barriers("done", 1, 2);
        k.init_barriers();
        if meet {
            k.cluster_barrier();
        } else {
            k.barrier();
        }
        let (zero, rank) = (k.int(0), k.cluster_rank());
        k.elect(|k| k.arrive_expect(load.full.slot(zero), load.bytes));
        k.when(rank.equals(0), |k| {
            k.elect(|k| {
                let tile = load.tile.only(k);
                k.bulk_load_multicast(load.map, &[zero.coordinate(); 2], &tile, load.full.slot(zero), mask);
            });
        });
        load.wait(k, 0);
        // Each tells both that it has read.
        let lane = k.lane();
        k.warp_sync();
        k.when(lane.lt(2), |k| k.arrive_remote(done.slot(zero), lane));
        if hold {
            k.await_phase(done.slot(zero), 0);
        }
    })
}

#[test]
fn clusters_outlive_their_peers_signals() {
    assert_eq!(multicast(0b11, true, true), ["nothing"]);
    assert_eq!(multicast(0b11, false, true), ["CTA gone"]);
    assert_eq!(multicast(0b111, true, true), ["no such rank"]);
    assert_eq!(multicast(0b01, true, true), ["byte mismatch"], "the second CTA waits for bytes that nobody sends");
    let unmet = multicast(0b11, true, false);
    assert!(unmet.iter().all(|n| *n == "barrier not ready"), "{unmet:?}");
}

#[test]
fn the_clusters_barrier_takes_turns() {
    let turns = |write: fn(&mut KernelBuilder<'_>)| {
        found(32, move |k| {
            k.clusters_of(2);
            write(k);
        })
    };
    assert_eq!(turns(|k| k.cluster_barrier()), ["nothing"]);
    assert_eq!(turns(|k| k.cluster_wait()), ["cluster barrier order"]);
    let twice = turns(|k| {
        k.cluster_arrive();
        k.cluster_arrive();
        k.cluster_wait();
    });
    assert_eq!(twice, ["cluster barrier order"]);
}

#[test]
fn named_barriers_count_their_own() {
    let meet = |id: i32, threads: [u32; 2]| {
        found(64, move |k| {
            k.role("one", 0..1, RegisterBudget::Launch, |k| k.meet(id, threads[0]));
            k.role("other", 1..2, RegisterBudget::Launch, |k| k.pass(id, threads[1]));
        })
    };
    assert_eq!(meet(3, [64, 64]), ["nothing"]);
    assert_eq!(meet(3, [96, 96]), ["deadlock"]);
    assert_eq!(meet(3, [64, 96]), ["named barrier mismatch"]);
    assert_eq!(meet(0, [64, 64]), ["no such named barrier"]);
}

#[test]
fn counters_and_grids() {
    let count = |scope: AtomicScope, wait: bool, end: bool| {
        found(32, move |k| {
            let counter = k.workspace("counter", 2);
            if wait {
                k.await_grid();
            } else {
                let never = k.cta().lt(0);
                k.when(never, |k| k.await_grid());
            }
            let first = k.lane().equals(0);
            k.fetch_add("taken", counter, 0, 1, first, (MemoryOrder::Relaxed, scope));
            if end {
                k.end_count(counter, 0, 1);
            }
        })
    };
    assert_eq!(count(AtomicScope::Gpu, true, true), ["nothing"]);
    assert_eq!(count(AtomicScope::Gpu, true, false), ["workspace left"]);
    assert_eq!(count(AtomicScope::Cta, true, true), ["narrow atomic"]);
    assert_eq!(count(AtomicScope::Gpu, false, true), ["grid not awaited"]);
}

/// A ring whose consumer frees slots too early, or whose producer does not wait for them.
#[test]
fn rings_hand_slots_over() {
    let ring = |acquire: bool, release_first: bool| {
        found(160, move |k| {
            let layout = Layout::swizzled_panels(64, 64, 2);
            let map = k.tensor_map("a", TensorMap::matrix(Dtype::Bf16, 64, 64, false), ParamRole::A);
            let tiles = k.bulk_tiles("tiles", Dtype::Bf16, &layout, 2);
            let sums = k.warpgroup_sums("sums", warpgroup_map(1, 64, 1));
            let (full, empty) = (k.barriers("full", 2, 1), k.barriers("empty", 2, 4));
            ready(k);
            let rounds = k.int(5);
            k.role("producer", 4..5, RegisterBudget::Launch, |k| {
                let zero = k.int(0);
                k.for_("round", rounds, |k, round| {
                    let slot = k.let_("slot", round % 2);
                    if acquire {
                        k.await_phase(empty.slot(slot), k.int(1) - round / 2 % 2);
                    }
                    k.elect(|k| {
                        k.arrive_expect(full.slot(slot), layout.bytes());
                        k.bulk_load(map, &[zero.coordinate(); 2], &tiles.slot(slot), full.slot(slot));
                    });
                });
            });
            k.role("consumers", 0..4, RegisterBudget::Launch, |k| {
                k.zero_sums(sums);
                let seen: Var<'_, I32, Cta> = k.var("seen", 0);
                k.for_("round", rounds, |k, round| {
                    let slot = k.let_("slot", round % 2);
                    k.await_phase(full.slot(slot), round / 2 % 2);
                    k.fence_products();
                    let (tile, keep) = (tiles.slot(slot), k.always());
                    if release_first {
                        k.elect(|k| k.arrive(empty.slot(slot)));
                    }
                    k.warpgroup_multiply(sums, tile.k_major(), tile.k_major(), 0, keep);
                    k.commit_products();
                    k.await_products(0);
                    if !release_first {
                        k.elect(|k| k.arrive(empty.slot(slot)));
                    }
                    k.set(seen, seen.get() + 1);
                });
            });
        })
    };
    assert_eq!(ring(true, false), ["nothing"]);
    let early = ring(true, true);
    let overwrites = ["overwrite in flight", "overwrite while read"];
    assert!(early.iter().any(|n| overwrites.contains(n)), "{early:?}");
    let unasked = ring(false, false);
    let counts = ["unordered write", "arrival mismatch", "byte mismatch"];
    assert!(unasked.iter().all(|n| overwrites.contains(n) || counts.contains(n)), "{unasked:?}");
}

/// What no schedule is needed for: a kernel that cannot be right is not built.
#[test]
fn kernels_that_are_refused() {
    let refused = |threads: u32, write: &dyn Fn(&mut KernelBuilder<'_>)| -> Vec<String> {
        match KernelBuilder::build("k", "a test", threads, 16, |k| write(k)) {
            Ok(_) => Vec::new(),
            Err(defects) => defects.iter().map(|d| d.kind.to_string()).collect(),
        }
    };
    let role = |warps: std::ops::Range<u32>, registers| {
        refused(256, &move |k: &mut KernelBuilder<'_>| k.role("r", warps.clone(), registers, |k| k.comment("nothing")))
    };
    assert!(role(0..4, RegisterBudget::Grow(232)).is_empty());
    assert!(role(0..4, RegisterBudget::Grow(230))[0].contains("multiple of 8"));
    assert!(role(1..5, RegisterBudget::Shrink(40))[0].contains("whole warpgroups"));
    assert!(role(4..9, RegisterBudget::Launch)[0].contains("do not exist"));
    let beside = refused(256, &|k| {
        k.role("one", 0..4, RegisterBudget::Launch, |_| {});
        k.role("other", 3..5, RegisterBudget::Launch, |_| {});
    });
    assert!(beside[0].contains("another role"), "{beside:?}");
    let barrier = refused(64, &|k| k.role("r", 0..1, RegisterBudget::Launch, |k| k.barrier()));
    assert!(barrier[0].contains("needs all threads of the CTA"), "{barrier:?}");
    let outer = refused(64, &|k| {
        let v = k.var::<I32, Cta, _>("v", 0);
        k.role("r", 0..1, RegisterBudget::Launch, |k| k.set(v, 1));
    });
    assert!(outer[0].contains("declared outside the role"), "{outer:?}");
    let boxed = refused(64, &|k| {
        let map = k.tensor_map("a", TensorMap::matrix(Dtype::Bf16, 32, 64, false), ParamRole::A);
        let tile = k.bulk_tiles("t", Dtype::Bf16, &Layout::swizzled_panels(16, 64, 2), 1).only(k);
        let full = k.barriers("full", 1, 1);
        let zero = k.int(0);
        k.elect(|k| k.bulk_load(map, &[zero.coordinate(); 2], &tile, full.slot(zero)));
    });
    assert!(boxed[0].contains("a box of 32 x 64 in panels of 16 x 64"), "{boxed:?}");
    let narrow = refused(128, &|k| {
        let tile = k.bulk_tiles("t", Dtype::Bf16, &Layout::swizzled_panels(64, 32, 2), 1).only(k);
        let sums = k.warpgroup_sums("sums", warpgroup_map(1, 64, 1));
        let keep: ggemm_codegen::dsl::Expr<'_, ggemm_codegen::dsl::Bool, Grid> = k.always();
        k.warpgroup_multiply(sums, tile.k_major(), tile.k_major(), 0, keep);
        k.commit_products();
        k.await_products(0);
    });
    assert!(narrow[0].contains("128-byte swizzle"), "{narrow:?}");
}
