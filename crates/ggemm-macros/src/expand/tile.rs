//! Tiles that were listed by hand: the warps and stages that make a legal spec of one, or why none does.

use std::cmp::Reverse;

use ggemm_codegen::{Arch, KernelSpec, Tile, ValidSpec, Violation, Warps};

/// Reads `128x256x64`.
pub(super) fn parse(text: &str) -> Option<Tile> {
    let mut sides = text.split('x').map(|side| side.parse().ok().filter(|value: &u32| value.to_string() == side));
    let tile = Tile { m: sides.next()??, n: sides.next()??, k: sides.next()?? };
    sides.next().is_none().then_some(tile)
}

/// Writes what [`parse`] reads.
pub(super) fn name(tile: Tile) -> String {
    format!("{}x{}x{}", tile.m, tile.n, tile.k)
}

/// The legal spec of `tile` for `target` whose other fields are those of `form`, warps and stages aside: as the
/// catalogue has it, else with blocks near 64 x 64 for a warp and up to four stages.
///
/// # Errors
/// What stands in the way of the choice that comes nearest to being legal.
pub(super) fn fit(
    form: KernelSpec,
    tile: Tile,
    target: Arch,
    shipped: &[KernelSpec],
) -> Result<ValidSpec, Vec<Violation>> {
    let form = KernelSpec { tile, ..form };
    let tried = shipped.iter().filter(|spec| spec.tile == tile && spec.copy == form.copy).map(|s| (s.warps, s.stages));
    let mut nearest: Option<(_, Vec<Violation>)> = None;
    for (warps, stages) in tried.chain(choices(tile)) {
        match ValidSpec::new(KernelSpec { warps, stages, ..form }, target) {
            Ok(spec) => return Ok(spec),
            Err(violations) => {
                // Rules are checked in their order, so that a later one is nearer to the goal.
                let rule = violations.iter().map(|violation| violation.rule).min();
                let progress = (rule, Reverse(violations.len()), Reverse(stages));
                if nearest.as_ref().is_none_or(|(known, _)| *known < progress) {
                    nearest = Some((progress, violations));
                }
            }
        }
    }
    Err(nearest.map(|(_, violations)| violations).unwrap_or_default())
}

/// Warps and stages to try for a tile, the best first.
fn choices(tile: Tile) -> impl Iterator<Item = (Warps, u32)> {
    let counts = [1, 2, 4, 8];
    let mut warps: Vec<Warps> = counts.iter().flat_map(|m| counts.map(|n| Warps { m: *m, n })).collect();
    warps.retain(|warps| (2..=16).contains(&warps.count()));
    warps.sort_by_key(|warps| {
        let (m, n) = (tile.m / warps.m, tile.n / warps.n);
        (ratio(m * n, 64 * 64), ratio(m, n))
    });
    warps.into_iter().flat_map(|warps| [4, 3, 2].map(|stages| (warps, stages)))
}

/// How far apart two sides are, in hundredths of an octave: twice as long is as far as half as long.
fn ratio(a: u32, b: u32) -> u32 {
    let octaves = (f64::from(a.max(1)) / f64::from(b.max(1))).log2().abs();
    (octaves * 100.0).round() as u32
}

/// The tile nearest to `tile` that is `legal`, its sides among those that fast kernels have.
pub(super) fn nearest(tile: Tile, legal: impl Fn(Tile) -> bool) -> Option<Tile> {
    let sides = [16, 32, 64, 128, 256];
    let all = sides.iter().flat_map(|m| sides.map(|n| (*m, n)));
    let mut tiles: Vec<Tile> = all.flat_map(|(m, n)| [16, 32, 64].map(|k| Tile { m, n, k })).collect();
    tiles.sort_by_key(|near| ratio(near.m, tile.m) + ratio(near.n, tile.n) + ratio(near.k, tile.k));
    tiles.into_iter().find(|near| legal(*near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_read_as_they_are_written() {
        let tile = Tile { m: 128, n: 256, k: 64 };
        assert_eq!(parse("128x256x64"), Some(tile));
        assert_eq!(name(tile), "128x256x64");
        for text in
            ["", "128", "128x256", "128x256x64x1", "0128x256x64", "128x256x", "128X256x64", "128x256x64u32", "-1x2x3"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn form() -> KernelSpec {
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk".parse().unwrap()
    }

    #[test]
    fn warps_and_stages_follow_the_catalogue_else_the_rule() {
        let tile = Tile { m: 128, n: 256, k: 64 };
        let found = fit(form(), tile, Arch::Sm80, &[]).unwrap();
        assert_eq!((found.warps, found.stages), (Warps { m: 2, n: 4 }, 3));
        let other = KernelSpec { warps: Warps { m: 2, n: 4 }, stages: 2, tile, ..form() };
        let found = fit(form(), tile, Arch::Sm80, &[other]).unwrap();
        assert_eq!((found.warps, found.stages), (other.warps, other.stages));
        // Less shared memory: fewer stages.
        let found = fit(form(), tile, Arch::Sm89, &[]).unwrap();
        assert_eq!((found.warps, found.stages), (Warps { m: 2, n: 4 }, 2));
    }

    #[test]
    fn the_violation_reported_is_the_last_that_stands_in_the_way() {
        let rules = |tile| -> Vec<_> {
            fit(form(), tile, Arch::Sm80, &[]).unwrap_err().iter().map(|v| v.rule.name()).collect()
        };
        assert_eq!(rules(Tile { m: 128, n: 128, k: 48 }), ["tile-k"]);
        assert_eq!(rules(Tile { m: 120, n: 128, k: 64 }), ["warp-tile"]);
        assert_eq!(rules(Tile { m: 512, n: 512, k: 64 }), ["shared-memory", "registers"]);
        assert_eq!(rules(Tile { m: 2048, n: 128, k: 64 }), ["positive"]);
    }

    #[test]
    fn the_nearest_tile_is_legal() {
        let legal = |tile| fit(form(), tile, Arch::Sm80, &[]).is_ok();
        let near = |m, n, k| nearest(Tile { m, n, k }, legal).map(name);
        assert_eq!(near(128, 128, 48).as_deref(), Some("128x128x64"));
        assert_eq!(near(120, 250, 64).as_deref(), Some("128x256x64"));
        assert_eq!(near(512, 512, 64).as_deref(), Some("128x256x64"));
        assert_eq!(nearest(Tile { m: 1, n: 1, k: 1 }, |_| false), None);
    }
}
