//! Charts as SVG: panels of one width below each other.

mod bars;
mod lines;

pub use bars::Bars;
pub use lines::{Lines, Scale};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::error::ReportError;

/// Colours that people who confuse red and green tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(230, 159, 0),
    RGBColor(140, 140, 140),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(90, 60, 20),
];

/// Series that one panel shows, each in a colour of its own.
pub const MOST_SERIES: usize = COLOURS.len();

/// The height of a panel, in pixels.
const HEIGHT: u32 = 290;
/// The least width.
const NARROWEST: u32 = 760;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

/// One part of a page.
#[derive(Clone, Debug)]
pub enum Panel {
    /// Bars in groups.
    Bars(Bars),
    /// Lines over an axis.
    Lines(Lines),
}

/// The panels as one SVG. Equal panels are equal to the byte.
///
/// # Errors
/// [`ReportError::Chart`].
pub fn page(panels: &[Panel]) -> Result<String, ReportError> {
    let width = panels.iter().map(|panel| match panel {
        Panel::Bars(bars) => bars.width(),
        Panel::Lines(_) => NARROWEST,
    });
    let width = width.max().unwrap_or(NARROWEST).max(NARROWEST);
    let count = panels.len().max(1);
    let height = HEIGHT.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    let mut svg = String::new();
    let draw = |svg: &mut String| -> Drawn {
        let area = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        for (part, panel) in area.split_evenly((count, 1)).iter().zip(panels) {
            match panel {
                Panel::Bars(bars) => bars.draw(part)?,
                Panel::Lines(lines) => lines.draw(part)?,
            }
        }
        area.present()
    };
    draw(&mut svg).map_err(|error| ReportError::Chart { reason: error.to_string() })?;
    Ok(svg)
}
