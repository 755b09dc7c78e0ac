//! A bar for each series in each of several groups.

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn};

/// Groups of bars.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What is shown, and in which unit.
    pub caption: String,
    /// The groups.
    pub labels: Vec<String>,
    /// Names, each with its value in each group; `None`: no bar.
    pub series: Vec<(String, Vec<Option<f64>>)>,
}

impl Bars {
    /// Pixels that the names below and the bars above need.
    pub(super) fn width(&self) -> u32 {
        let letters = self.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
        let group = (self.series.len() * 11 + 24).max(letters * 6).max(96);
        // The names of the series stand in a column of their own, behind the last group.
        u32::try_from(60 + (self.labels.len() + 1) * group).unwrap_or(u32::MAX)
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let Bars { caption, labels, series } = self;
        let values = series.iter().flat_map(|(_, values)| values.iter().flatten());
        let most = values.fold(1.0, |most: f64, value| most.max(*value)) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(46)
            .build_cartesian_2d(0.0..(labels.len() + 1) as f64, 0.0..most)?;
        let label = |at: &f64| {
            let centre = at.fract() > 0.4 && at.fract() < 0.6;
            labels.get(*at as usize).filter(|_| centre).cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(labels.len() * 2 + 3)
            .x_label_formatter(&label)
            .x_label_style(("sans-serif", 11))
            .y_labels(6)
            .y_label_formatter(&|value| format!("{value:.0}"))
            .light_line_style(WHITE)
            .draw()?;
        let bar = 0.84 / series.len().max(1) as f64;
        for (number, (name, values)) in series.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let bars = values.iter().enumerate().filter_map(|(at, value)| {
                let left = at as f64 + 0.08 + bar * number as f64;
                Some(Rectangle::new([(left, 0.0), (left + bar * 0.92, (*value)?)], colour.filled()))
            });
            chart
                .draw_series(bars)?
                .label(name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
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
    fn there_is_a_bar_for_each_value() {
        let series = [("ggemm", vec![Some(10.0), Some(20.0)]), ("torch", vec![None, Some(15.0)])];
        let series = series.into_iter().map(|(name, values)| (name.to_owned(), values)).collect();
        let bars = Bars { caption: "TFLOP/s".into(), labels: vec!["up & down".into(), "b".into()], series };
        let svg = page(&[Panel::Bars(bars.clone())]).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let filled = |colour: &str| {
            let named =
                |node: &roxmltree::Node<'_, '_>| node.has_tag_name("rect") && node.attribute("fill") == Some(colour);
            document.descendants().filter(named).count()
        };
        // One of each is the legend's.
        assert_eq!([filled("#005AB5"), filled("#E69F00")], [3, 2]);
        let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        for text in ["TFLOP/s", "up & down", "b", "ggemm", "torch"] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
        assert_eq!(svg, page(&[Panel::Bars(bars)]).unwrap());
    }

    #[test]
    fn long_names_have_the_room_that_they_need() {
        let bars = |label: &str| Bars { caption: String::new(), labels: vec![label.to_owned(); 9], series: Vec::new() };
        assert_eq!(bars("short").width(), 60 + 10 * 96);
        assert_eq!(bars("a name of thirty-three characters").width(), 60 + 10 * 33 * 6);
    }
}
