//! `ggemm emit --explain`: what a variant takes and does, for people.

use std::fmt::Write;

use ggemm_codegen::explain::{Explanation, Site};
use serde::Serialize;

use super::compiled::Compiled;
use crate::numbers::{bytes, rate};
use crate::table;

/// What is printed, and as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    explanation: Explanation,
    /// What the compiler says; `None`: see `not_compiled`.
    compiled: Option<Compiled>,
    /// Why there is nothing that it says.
    not_compiled: Option<String>,
}

impl Report {
    pub(super) fn new(explanation: Explanation, compiled: Result<Compiled, String>) -> Self {
        let (compiled, not_compiled) = match compiled {
            Ok(compiled) => (Some(compiled), None),
            Err(reason) => (None, Some(reason)),
        };
        Report { explanation, compiled, not_compiled }
    }

    /// The report as text.
    pub(super) fn text(&self) -> String {
        let parts = [
            self.head(),
            self.roles(),
            self.shared(),
            self.shared_accesses(),
            self.device_accesses(),
            self.bulk_copies(),
            self.products(),
            self.intensity(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn head(&self) -> String {
        let Explanation { name, target, summary, threads, cluster, registers, shared, residency, .. } =
            &self.explanation;
        let mut parts: Vec<String> =
            registers.fragments.iter().map(|f| format!("{} {}", f.name, f.registers)).collect();
        parts.push(format!("addresses {}", registers.addresses));
        let compiled = match (&self.compiled, &self.not_compiled) {
            (Some(compiled), _) => compiled.to_string(),
            (None, reason) => format!("not compiled: {}", reason.as_deref().unwrap_or("no reason")),
        };
        let exchanged = self.explanation.roles.iter().any(|role| role.registers.is_some());
        let most = match exchanged {
            true => format!("{} at launch, then exchanged between roles", registers.most),
            false => format!("at most {}", registers.most),
        };
        let mut table = table::table(["", ""], 0..0);
        for (what, value) in [
            ("threads", format!("{threads} a CTA, clusters of {cluster}")),
            ("registers", format!("{} estimated ({}), {most}", registers.estimate, parts.join(", "))),
            ("ptxas", compiled),
            ("shared memory", format!("{} of {}", bytes(shared.bytes.into()), bytes(shared.limit.into()))),
            (
                "CTAs an SM",
                format!(
                    "{} (room for {} by shared memory, {} by registers, {} by threads)",
                    residency.ctas(),
                    residency.by_shared,
                    residency.by_registers,
                    residency.by_threads
                ),
            ),
        ] {
            table.add_row([what.to_owned(), value]);
        }
        // The table's head is empty.
        let text = table::text(&table);
        format!("{name} on {target}\n{summary}\n\n{}", text.trim_start_matches('\n'))
    }

    fn roles(&self) -> String {
        let mut table = table::table(["role", "warps", "threads", "registers"], 2..4);
        for role in &self.explanation.roles {
            let last = role.first_warp + role.warps - 1;
            let warps = if role.warps == 1 { last.to_string() } else { format!("{}-{last}", role.first_warp) };
            let registers = role.registers.map_or_else(|| "launch".to_owned(), |n| n.to_string());
            table.add_row([role.name.clone(), warps, role.threads.to_string(), registers]);
        }
        table::text(&table)
    }

    fn shared(&self) -> String {
        let shared = &self.explanation.shared;
        let mut table = table::table(["shared memory", "slots", "each", "bytes", "what"], 1..4);
        let mut row = |name: &str, slots: &str, each: &str, bytes: u32, what: &str| {
            table.add_row([name, slots, each, &bytes.to_string(), what]);
        };
        for part in &shared.parts {
            let (slots, each) = (part.slots.to_string(), part.bytes_of_each.to_string());
            row(&part.name, &slots, &each, part.bytes, &part.what);
        }
        let padding = shared.bytes - shared.parts.iter().map(|part| part.bytes).sum::<u32>();
        if padding > 0 {
            row("", "", "", padding, "padding");
        }
        row("all", "", "", shared.bytes, "");
        table::text(&table)
    }

    fn shared_accesses(&self) -> String {
        let headings = ["bank conflicts", "tile", "by", "bytes", "ways", "bytes/transaction", "role", "line"];
        let rows = self.explanation.shared_accesses.iter().map(|access| {
            let cells = vec![
                access.site.op.to_owned(),
                access.tile.clone(),
                access.instruction.to_owned(),
                access.bytes.to_string(),
                access.ways.to_string(),
                format!("{:.0}", access.bytes_per_transaction),
            ];
            (cells, &access.site)
        });
        grouped(headings, 3..6, rows)
    }

    fn device_accesses(&self) -> String {
        let headings = ["device memory", "operand", "", "by", "bytes/request", "rows", "coalescing", "role", "line"];
        let rows = self.explanation.device_accesses.iter().map(|access| {
            let cells = vec![
                access.site.op.to_owned(),
                access.operand.clone(),
                access.direction.name().to_owned(),
                access.instruction.to_owned(),
                access.bytes.to_string(),
                access.runs.to_string(),
                format!("{:.0}%", 100.0 * access.coalescing),
            ];
            (cells, &access.site)
        });
        grouped(headings, 4..7, rows)
    }

    fn bulk_copies(&self) -> String {
        let headings = ["copy engine", "operand", "tile", "box", "boxes", "swizzle", "bytes", "CTAs", "role", "line"];
        let rows = self.explanation.bulk_copies.iter().map(|copy| {
            let counts: Vec<String> = copy.counts.iter().map(u32::to_string).collect();
            let cells = vec![
                copy.direction.name().to_owned(),
                copy.operand.clone(),
                copy.tile.clone(),
                counts.join("x"),
                copy.boxes.to_string(),
                copy.swizzle_bytes.to_string(),
                copy.bytes.to_string(),
                copy.ctas.to_string(),
            ];
            (cells, &copy.site)
        });
        grouped(headings, 4..8, rows)
    }

    fn products(&self) -> String {
        let headings = ["products", "role", "by", "a k16 step", "steps", "a stage"];
        let mut table = table::table(headings, 3..6);
        for products in &self.explanation.products {
            table.add_row([
                products.instruction.clone(),
                products.role.clone(),
                if products.warps == 1 { "each warp" } else { "each warpgroup" }.to_owned(),
                products.per_step.to_string(),
                products.steps_of_stage.to_string(),
                products.per_stage.to_string(),
            ]);
        }
        table::text(&table)
    }

    fn intensity(&self) -> String {
        let intensity = &self.explanation.intensity;
        let mut table = table::table(["intensity", "flop", "L2 bytes", "flop/L2 byte", "flop/DRAM byte"], 1..5);
        let iteration = &intensity.iteration;
        table.add_row([
            "an iteration".to_owned(),
            iteration.flop.to_string(),
            iteration.l2_bytes.to_string(),
            rate(iteration.flop_per_l2_byte),
            String::new(),
        ]);
        for tile in &intensity.tiles {
            table.add_row([
                format!("a tile, reduction {}", tile.reduction),
                tile.flop.to_string(),
                tile.l2_bytes.to_string(),
                rate(tile.flop_per_l2_byte),
                rate(tile.flop_per_dram_byte),
            ]);
        }
        table.add_row([
            "the chip's balance".to_owned(),
            String::new(),
            String::new(),
            rate(intensity.balance_l2),
            rate(intensity.balance_dram),
        ]);
        let mut text = table::text(&table);
        let (bytes, shared) = (iteration.shared_bytes, rate(iteration.flop_per_shared_byte));
        // Writing to a string does not fail.
        let _ = writeln!(text, "An iteration moves {bytes} bytes through shared memory: {shared} flop for each.");
        let _ = writeln!(text, "DRAM is counted where the tiles that run at once are neighbours in one group.");
        text
    }
}

/// A table of statements: those that differ by role and line alone are one row.
fn grouped<'a, const N: usize>(
    headings: [&str; N],
    right: std::ops::Range<usize>,
    rows: impl Iterator<Item = (Vec<String>, &'a Site)>,
) -> String {
    let mut groups: Vec<(Vec<String>, Vec<&Site>)> = Vec::new();
    for (cells, site) in rows {
        match groups.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, sites)) => sites.push(site),
            None => groups.push((cells, vec![site])),
        }
    }
    if groups.is_empty() {
        return String::new();
    }
    let mut table = table::table(headings, right);
    for (mut cells, sites) in groups {
        let mut roles: Vec<&str> = sites.iter().map(|site| site.role.as_str()).collect();
        roles.dedup();
        let more = sites.len() - 1;
        cells.push(roles.join(", "));
        let line = sites[0].line;
        cells.push(if more == 0 { line.to_string() } else { format!("{line} and {more} more") });
        table.add_row(cells);
    }
    table::text(&table)
}
