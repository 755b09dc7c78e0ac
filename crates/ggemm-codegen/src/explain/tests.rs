use super::*;
use crate::catalogue;
use crate::descriptor::wgmma_k;
use crate::dtype::Dtype;
use crate::geometry::{self, mma_k};
use crate::ir::{Fragment, FragmentRole, SharedTile};
use crate::layout::{Axis, Digit, Layout, Swizzle};
use crate::spec::{CopyPath, Schedule, Tile, Warps};

const MULTISTAGE: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync";
const PINGPONG: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma";
const REDUCTION: &str = "ggemm_reduction_am_bn_bf16_f32_f32_sm90a_128x256x64_w8x1_s4_cooperative_tma_dynamic";
const PLAIN: &str = "ggemm_rows_ak_bk_bf16_f32_f16_sm80_64x64x32_w2x2_s2_multistage_plain";

fn of(name: &str, target: Arch) -> Explanation {
    explain(&ValidSpec::new(name.parse().unwrap(), target).unwrap())
}

/// Rows of `row_bytes`, one after another, with or without the swizzle of panels.
fn rows(rows: u32, cols: u32, row_bytes: u32, swizzle: Swizzle) -> Layout {
    Layout {
        rows: Axis(vec![Digit { extent: rows, stride: row_bytes }]),
        cols: Axis(vec![Digit { extent: cols, stride: 2 }]),
        swizzle,
        element_bytes: 2,
    }
}

#[test]
fn a_multistage_variant_by_hand() {
    let e = of(MULTISTAGE, Arch::Sm80);
    assert_eq!((e.threads, e.shared.bytes), (128, 3 * 2 * 128 * 64 * 2));
    let fragments: Vec<(&str, u32)> = e.registers.fragments.iter().map(|f| (f.name.as_str(), f.registers)).collect();
    // Two steps of 64 rows of A and 64 columns of B, and 64 x 64 sums, over 32 lanes.
    assert_eq!(fragments, [("a_fragment", 32), ("b_fragment", 32), ("sums", 128)]);
    assert_eq!(e.registers.estimate, 32 + 32 + 128 + e.registers.addresses);
    // 164 KiB hold one CTA of 96 + 1 KiB; 65,536 registers two of 128 threads with 240 each.
    assert_eq!((e.residency.by_shared, e.residency.by_registers, e.residency.by_threads), (1, 2, 16));
    assert_eq!(e.residency.ctas(), 1);
    let by = |op: &str| e.shared_accesses.iter().filter(|a| a.site.op == op).collect::<Vec<_>>();
    for (op, instruction) in [("copy_tile", "cp.async 16"), ("load_matrix", "ldmatrix.x4")] {
        assert!(!by(op).is_empty());
        for access in by(op) {
            assert_eq!((access.instruction, access.bytes, access.ways), (instruction, 512, 1));
            assert_eq!(access.bytes_per_transaction, 128.0);
        }
    }
    // A warp copies four rows of 128 bytes, and stores eight of 64.
    let device = |op: &str| e.device_accesses.iter().find(|a| a.site.op == op).unwrap();
    let numbers = |a: &DeviceAccess| (a.bytes, a.runs, a.sectors, a.coalescing);
    assert_eq!(numbers(device("copy_tile")), (512, 4, 16, 1.0));
    assert_eq!(numbers(device("store_tile")), (512, 8, 16, 1.0));
    assert_eq!(numbers(device("load_index")), (128, 1, 4, 1.0));
    // 4 x 8 products of 16 x 8 in a step of each warp's 64 x 64, four steps a stage.
    let [products] = &e.products[..] else { panic!("{:?}", e.products) };
    assert_eq!((products.instruction.as_str(), products.per_step, products.per_stage), ("mma.sync.m16n8k16", 32, 128));
    let iteration = &e.intensity.iteration;
    assert_eq!((iteration.flop, iteration.l2_bytes), (2 * 128 * 128 * 64, 2 * 128 * 64 * 2));
    assert_eq!(iteration.flop_per_l2_byte, 64.0);
    assert!(e.bulk_copies.is_empty());
}

#[test]
fn a_warp_specialized_variant_by_hand() {
    let e = of(PINGPONG, Arch::Sm90a);
    let roles: Vec<(&str, u32, u32, Option<u32>)> =
        e.roles.iter().map(|r| (r.name.as_str(), r.first_warp, r.threads, r.registers)).collect();
    let expected = [
        ("consumer 0", 0, 128, Some(240)),
        ("consumer 1", 4, 128, Some(240)),
        ("finder", 8, 32, Some(24)),
        ("loader", 9, 32, Some(24)),
        ("producers (idle)", 10, 64, Some(24)),
    ];
    assert_eq!(roles, expected);
    assert_eq!((e.threads, e.registers.most), (384, 168));
    assert_eq!(e.residency.ctas(), 1);
    let loads: Vec<(&str, &[u32], u32, u32, u32)> = e
        .bulk_copies
        .iter()
        .filter(|c| c.direction == BulkDirection::Load)
        .map(|c| (c.operand.as_str(), &c.counts[..], c.boxes, c.swizzle_bytes, c.bytes))
        .collect();
    assert_eq!(loads, [("a", &[64, 128, 1, 1][..], 1, 128, 16384), ("b", &[64, 192, 1][..], 1, 128, 24576)]);
    let store = e.bulk_copies.iter().find(|c| c.direction == BulkDirection::Store).unwrap();
    assert_eq!((&store.counts[..], store.bytes, store.ctas), (&[64, 64, 1, 1][..], 8192, 1));
    for products in &e.products {
        assert_eq!((products.instruction.as_str(), products.per_step), ("wgmma.m64n192k16", 2));
        assert_eq!((products.steps_of_stage, products.per_stage, products.warps), (4, 8, 4));
    }
    assert_eq!(e.products.len(), 2, "both consumers");
    assert_eq!(e.intensity.iteration.flop_per_l2_byte, 2.0 * 128.0 * 192.0 / (320.0 * 2.0));
    let stores = e.shared_accesses.iter().filter(|a| a.instruction == "stmatrix");
    assert!(stores.clone().count() > 0);
    assert!(stores.into_iter().all(|a| (a.bytes, a.ways) == (512, 1)));
}

/// MN-major operands have a box for each panel, and f32 sums leave two lanes' pairs in one bank: rows 0 and 1 keep pieces
/// 0 and 1 in each other's places.
#[test]
fn a_ragged_reduction_by_hand() {
    let e = of(REDUCTION, Arch::Sm90a);
    let loads = e.bulk_copies.iter().filter(|c| c.direction == BulkDirection::Load);
    let boxes: Vec<(u32, u32)> = loads.map(|c| (c.boxes, c.bytes)).collect();
    assert_eq!(boxes, [(2, 16384), (4, 32768)]);
    assert!(e.bulk_copies.iter().any(|c| c.direction == BulkDirection::Add));
    let stores: Vec<_> = e.shared_accesses.iter().filter(|a| a.site.op == "store_fragment").collect();
    assert!(!stores.is_empty());
    for store in stores {
        assert_eq!((store.instruction, store.bytes, store.ways), ("st.shared 8", 256, 2));
        assert_eq!(store.bytes_per_transaction, 64.0);
    }
}

/// Pieces use all of the sectors that they touch; stores of single elements a part.
#[test]
fn pieces_are_coalesced_and_elements_are_not() {
    let e = of(PLAIN, Arch::Sm80);
    let load = e.device_accesses.iter().find(|a| a.site.op == "load_staging").unwrap();
    // 8 rows of 64 bytes, four lanes each.
    assert_eq!((load.bytes, load.runs, load.sectors, load.coalescing), (512, 8, 16, 1.0));
    let store = e.device_accesses.iter().find(|a| a.site.op == "store_tile").unwrap();
    assert_eq!((store.bytes, store.runs, store.sectors, store.coalescing), (64, 8, 8, 0.25));
}

#[test]
fn conflicts_follow_from_the_layout() {
    let (tile, warps) = (Tile { m: 64, n: 64, k: 64 }, Warps { m: 2, n: 2 });
    let none = Swizzle { bits: 0, base: 4, shift: 3 };
    let bare = rows(64, 64, 128, none);
    let padded = rows(64, 64, 144, none);
    let swizzled = Layout::swizzled_panels(64, 64, 2);
    for map in [geometry::a_fragment_map(tile, warps, 2), geometry::b_fragment_map(tile, warps, 2)] {
        for transposed in [false, true] {
            let ways = |layout: &Layout| {
                let pattern = shared::ldmatrix(layout, &map, transposed);
                (pattern.ways, pattern.bytes_per_transaction)
            };
            // Rows of 128 bytes start at one bank; with 16 more, or swizzled, each starts elsewhere.
            assert_eq!(ways(&bare), (8, 16.0));
            assert_eq!(ways(&padded), (1, 128.0));
            assert_eq!(ways(&swizzled), (1, 128.0));
        }
    }
    for is_mn_major in [false, true] {
        assert_eq!(shared::core_matrices(&bare, is_mn_major).ways, 8);
        assert_eq!(shared::core_matrices(&swizzled, is_mn_major).ways, 1);
    }
    // Eight lanes write a row's 128 bytes: no two meet, swizzled or not.
    let copy = geometry::copy_map(&bare, 128);
    assert_eq!(shared::pieces("cp.async 16", &bare, &copy).ways, 1);
    // Where a row is 32 bytes, and the next lane's row 128 further, four rows of two lanes meet.
    let apart = rows(64, 16, 128, none);
    assert_eq!(shared::pieces("cp.async 16", &apart, &geometry::copy_map(&apart, 128)).ways, 4);
}

/// A warpgroup's 128 x n sums on their way to a tile [128, n], or [n, 128] where it is transposed.
#[test]
fn stores_of_sums_follow_from_the_layout() {
    let stored = |n: u32, dtype: Dtype, transposed: bool| {
        let (rows, cols) = if transposed { (n, 128) } else { (128, n) };
        let layout = Layout::swizzled_panels(rows, cols, dtype.size_bytes());
        let tile = SharedTile { name: "d".into(), dtype, layout, slots: 1, offset: 0 };
        let map = geometry::warpgroup_map(2, n, 1);
        let role = FragmentRole::WarpgroupAccumulator;
        let sums = Fragment { name: "sums".into(), dtype: Dtype::F32, role, map, slots: 1 };
        let pattern = shared::stores(&tile, &sums, (0, None), transposed);
        (pattern.instruction, pattern.bytes, pattern.ways)
    };
    assert_eq!(stored(64, Dtype::Bf16, false), ("stmatrix", 512, 1));
    assert_eq!(stored(64, Dtype::Bf16, true), ("stmatrix.trans", 512, 1));
    // Eight columns are one product: two matrices, not four.
    assert_eq!(stored(8, Dtype::Bf16, true), ("stmatrix.trans", 256, 1));
    assert_eq!(stored(32, Dtype::F32, false), ("st.shared 8", 256, 2));
    // Four columns of eight rows: eight pieces of 16 bytes, in as many places.
    assert_eq!(stored(32, Dtype::F32, true), ("st.shared 4", 128, 1));
}

/// What is explained of a variant adds up to what its contract states and its main loop does.
#[test]
fn explanations_add_up() {
    for target in [Arch::Sm80, Arch::Sm89, Arch::Sm90a] {
        for spec in catalogue::shipped_for(target) {
            let e = explain(&spec);
            let name = &e.name;
            let contract = crate::generate(&spec).contract;
            assert_eq!(e.shared.bytes, contract.shared_bytes, "{name}");
            let parts: u32 = e.shared.parts.iter().map(|p| p.bytes).sum();
            assert!(parts <= e.shared.bytes && e.shared.bytes - parts < 1024, "{name}: {parts} of {}", e.shared.bytes);
            assert_eq!(e.roles.iter().map(|r| r.threads).sum::<u32>(), contract.threads, "{name}");
            let fragments = e.registers.fragments.iter();
            let registers = if spec.copy == CopyPath::Plain && spec.schedule.is_warp_specialized() {
                // By its role a thread holds sums, or the pieces that are on their way.
                let at_once = (geometry::STAGED_AHEAD + 1) * geometry::STAGED_TOGETHER * geometry::STAGED_REGISTERS;
                fragments.filter(|f| f.name == "sums").map(|f| f.registers).sum::<u32>().max(at_once)
            } else {
                fragments.map(|f| f.registers).sum()
            };
            assert_eq!(registers + e.registers.addresses, contract.registers, "{name}");
            assert_eq!(e.residency.ctas(), crate::cost::ctas_per_sm(&contract, &target.limits()), "{name}");

            let of_role = |p: &Products| {
                let role = e.roles.iter().find(|r| r.name == p.role).unwrap();
                u64::from(p.per_stage * (role.warps / p.warps)) * u64::from(p.multiply_adds)
            };
            let all: u64 = e.products.iter().map(of_role).sum();
            // In turns, each of two warpgroups does all of a tile.
            let tiles = if spec.schedule == Schedule::Pingpong { 2 } else { 1 };
            // Swapped operands have a loop for each number of rows, of which the longest does all of a tile.
            let steps: u64 = if spec.swapped { geometry::row_counts(&spec).count() as u64 } else { 1 };
            let loops = tiles * (steps + 1);
            assert_eq!(2 * all, if spec.swapped { loops } else { 2 * tiles } * contract.work.multiply_adds, "{name}");
            let steps = if spec.copy == CopyPath::Tma {
                spec.tile.k / wgmma_k(spec.operand.size_bytes())
            } else {
                spec.tile.k / mma_k(spec.operand.size_bytes())
            };
            assert!(e.products.iter().all(|p| p.steps_of_stage == steps), "{name}");

            let loaded: u32 =
                e.bulk_copies.iter().filter(|c| c.direction == BulkDirection::Load).map(|c| c.bytes * c.ctas).sum();
            let expected = match spec.copy {
                // Of as many boxes of rows as exist, one stands for all.
                CopyPath::Tma if spec.swapped => {
                    (geometry::rows_of_box(&spec) + spec.tile.n) * spec.tile.k * spec.operand.size_bytes()
                }
                CopyPath::Tma => geometry::stage_bytes(&spec),
                CopyPath::CpAsync | CopyPath::Plain => 0,
            };
            assert_eq!(loaded, expected, "{name}");
            // Everything but f32 sums on their way out is free of conflicts.
            for access in &e.shared_accesses {
                let most = if access.site.op == "store_fragment" && spec.output == Dtype::F32 { 2 } else { 1 };
                assert_eq!(access.ways, most, "{name}: {access:?}");
            }
            assert!(e.device_accesses.iter().all(|a| a.site.line > 0 && a.coalescing > 0.0), "{name}");
            assert!(e.intensity.tiles.is_sorted_by(|a, b| a.flop_per_l2_byte < b.flop_per_l2_byte), "{name}");
        }
    }
}
