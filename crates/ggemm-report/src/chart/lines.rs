//! Lines over an axis of numbers.

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn};

/// How numbers lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// By what they are, from 0.
    Linear,
    /// By their powers of two.
    Log2,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        if self == Scale::Log2 { value.log2() } else { value }
    }

    /// The number at a place, as an axis writes it.
    fn label(self, place: f64) -> String {
        let value = if self == Scale::Log2 { place.exp2() } else { place };
        let digits = if value.abs() >= 9.5 || value == 0.0 { 0 } else { 1 };
        format!("{value:.digits$}")
    }

    /// An axis that has these places.
    fn range(self, places: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
        let most = places.clone().fold(f64::NEG_INFINITY, f64::max);
        let least = places.fold(f64::INFINITY, f64::min);
        match self {
            _ if !(least.is_finite() && most.is_finite()) => 0.0..1.0,
            Scale::Linear => 0.0..(most * 1.1).max(1e-3),
            // Whole powers, and never none.
            Scale::Log2 => least.floor()..most.ceil().max(least.floor() + 1.0),
        }
    }
}

/// Series over one axis.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What is shown.
    pub caption: String,
    /// What the axis below is.
    pub below: String,
    /// How it is scaled.
    pub across: Scale,
    /// How the other axis is scaled.
    pub up: Scale,
    /// Names, each with its points in the order of the axis below. On an axis of powers numbers are above 0.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Lines {
    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let Lines { caption, below, across, up, series } = self;
        let points = || series.iter().flat_map(|(_, points)| points);
        let xs = across.range(points().map(|(x, _)| across.place(*x)));
        let ys = up.range(points().map(|(_, y)| up.place(*y)));
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            // For the last number.
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(46)
            .build_cartesian_2d(xs, ys)?;
        chart
            .configure_mesh()
            .x_desc(below)
            .x_labels(14)
            .x_label_formatter(&|place| across.label(*place))
            .x_label_style(("sans-serif", 11))
            .y_labels(8)
            .y_label_formatter(&|place| up.label(*place))
            .light_line_style(WHITE)
            .draw()?;
        for (number, (name, points)) in series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let places = || points.iter().map(|(x, y)| (across.place(*x), up.place(*y)));
            chart
                .draw_series(std::iter::once(PathElement::new(places().collect::<Vec<_>>(), colour.stroke_width(2))))?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
            chart.draw_series(places().map(|at| Circle::new(at, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font(("sans-serif", 11))
            .draw()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Panel, page};
    use super::*;

    #[test]
    fn there_is_a_point_for_each_value() {
        for (across, up) in [(Scale::Log2, Scale::Log2), (Scale::Linear, Scale::Linear)] {
            let lines = Lines {
                caption: "time < M".into(),
                below: "M".into(),
                across,
                up,
                series: vec![
                    ("a".into(), vec![(64.0, 10.0), (128.0, 11.0), (65536.0, 700.0)]),
                    ("b".into(), vec![(64.0, 20.0)]),
                    ("c".into(), Vec::new()),
                ],
            };
            let svg = page(&[Panel::Lines(lines)]).unwrap();
            let document = roxmltree::Document::parse(&svg).unwrap();
            let points = document.descendants().filter(|node| node.has_tag_name("circle")).count();
            assert_eq!(points, 4);
            assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.trim() == "time < M")));
        }
    }

    #[test]
    fn axes_have_room_for_everything_and_for_nothing() {
        assert_eq!(Scale::Log2.range([6.0, 16.0].into_iter()), 6.0..16.0);
        assert_eq!(Scale::Log2.range([3.0].into_iter()), 3.0..4.0);
        assert_eq!(Scale::Linear.range([0.5, 2.0].into_iter()), 0.0..2.2);
        assert_eq!(Scale::Linear.range(std::iter::empty()), 0.0..1.0);
        assert_eq!(
            [Scale::Log2.label(16.0), Scale::Log2.label(0.5), Scale::Linear.label(0.6)],
            ["65536", "1.4", "0.6"]
        );
        let none = Lines {
            caption: "none".into(),
            below: "M".into(),
            across: Scale::Log2,
            up: Scale::Log2,
            series: Vec::new(),
        };
        assert!(page(&[Panel::Lines(none)]).unwrap().contains("none"));
    }
}
