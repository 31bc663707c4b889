//! The pictures: how waiting, answers and failures change with the number of people.
//!
//! Each colour is one of [`Colours`], which the page's style changes to those of a light or a dark page.

use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use super::super::figures::{Figures, Times};

/// A picture, and what its lines are.
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// The name of each line, and its class on the page.
    pub legend: Vec<(&'static str, &'static str)>,
    /// The picture.
    pub svg: String,
}

/// As wide as a phone shows it without shrinking letters much.
const SIZE: (u32, u32) = (480, 280);
const LETTERS: u32 = 20;

/// What the page's style knows by these very numbers.
struct Colours;

impl Colours {
    const INK: RGBColor = RGBColor(0x44, 0x44, 0x45);
    const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xde);
    const FIRST: RGBColor = RGBColor(0x1d, 0x6f, 0xb8);
    const SECOND: RGBColor = RGBColor(0xb4, 0x53, 0x09);
    const LIMIT: RGBColor = RGBColor(0xb9, 0x1c, 0x1d);
}

/// A line of a picture: its colour, and a value a step, where there is one.
struct Line {
    colour: RGBColor,
    values: Vec<Option<f64>>,
}

impl Plot {
    /// All pictures; none where nothing was measured.
    pub fn all(figures: &[Figures], limit_ms: u64) -> Vec<Self> {
        let people: Vec<_> = figures.iter().map(|figures| figures.step.people).collect();
        if people.is_empty() {
            return Vec::new();
        }
        let each = |colour, value: &dyn Fn(&Figures) -> Option<f64>| Line {
            colour,
            values: figures.iter().map(value).collect(),
        };
        let both = |times: fn(&Figures) -> Option<Times>| {
            [
                each(Colours::FIRST, &|figures| times(figures).map(|times| seconds(times.p50))),
                each(Colours::SECOND, &|figures| times(figures).map(|times| seconds(times.p95))),
            ]
        };
        let limit =
            Line { colour: Colours::LIMIT, values: vec![Some(seconds(limit_ms)); people.len()] };
        let [half, most] = both(|figures| figures.first_byte_ms);
        let rate = each(Colours::FIRST, &|figures| figures.answers_per_minute);
        let share = each(Colours::SECOND, &|figures| Some(figures.failure_share() * 100.0));
        let allowed = Line { colour: Colours::LIMIT, values: vec![Some(1.0); people.len()] };
        let halves = vec![("half", "first"), ("95 of 100", "second")];
        let with = |mut names: Vec<_>| {
            names.push(("limit", "limit"));
            names
        };
        let pictures = [
            ("Seconds until the first words", with(halves.clone()), vec![half, most, limit]),
            ("Seconds until the whole answer", halves, both(|figures| figures.total_ms).into()),
            ("Answers a minute", Vec::new(), vec![rate]),
            ("Failed, of 100 requests", with(Vec::new()), vec![share, allowed]),
        ];
        let drawn = pictures.into_iter().filter_map(|(title, legend, lines)| {
            // It draws into memory, which doesn't fail; a picture that does is left out.
            let svg = draw(&people, &lines).ok()?;
            let named = format!("<svg role=\"img\" aria-label=\"{title}\" ");
            Some(Self { title, legend, svg: svg.replacen("<svg ", &named, 1) })
        });
        drawn.collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a picture needs no more digits")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

fn draw(people: &[usize], lines: &[Line]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let highest = lines.iter().flat_map(|line| &line.values).flatten().copied();
        let highest = highest.fold(0.0_f64, f64::max);
        let top = if highest > 0.0 { highest * 1.08 } else { 1.0 };
        let steps = i32::try_from(people.len())?;
        let letters = ("sans-serif", LETTERS).into_font().color(&Colours::INK);
        let mut chart = ChartBuilder::on(&root)
            .margin_top(8)
            .margin_right(8)
            .x_label_area_size(54)
            .y_label_area_size(56)
            .build_cartesian_2d((0..steps - 1).into_segmented(), 0.0..top)?;
        let label = |place: &SegmentValue<i32>| match place {
            SegmentValue::CenterOf(place) | SegmentValue::Exact(place) => {
                let place = usize::try_from(*place).ok();
                place.and_then(|place| people.get(place)).map_or(String::new(), usize::to_string)
            }
            SegmentValue::Last => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .y_labels(6)
            .y_max_light_lines(0)
            .bold_line_style(Colours::GRID)
            .axis_style(Colours::INK)
            .label_style(letters.clone())
            .axis_desc_style(letters)
            .x_labels(people.len())
            .x_label_formatter(&label)
            .y_label_formatter(&|value| number(*value, top))
            .x_desc("people at once")
            .draw()?;
        for line in lines {
            let points = (0..).zip(&line.values);
            let points = points
                .filter_map(|(place, value)| Some((SegmentValue::CenterOf(place), (*value)?)));
            let points: Vec<(SegmentValue<i32>, f64)> = points.collect();
            if line.colour == Colours::LIMIT {
                let ends = points.first().cloned().zip(points.last().cloned());
                let Some(((_, level), _)) = ends else { continue };
                let whole = [(SegmentValue::Exact(0), level), (SegmentValue::Last, level)];
                chart.draw_series(DashedLineSeries::new(
                    whole,
                    6,
                    4,
                    line.colour.stroke_width(2),
                ))?;
                continue;
            }
            chart.draw_series(LineSeries::new(
                points.iter().cloned(),
                line.colour.stroke_width(3),
            ))?;
            let marks = points.into_iter().map(|point| Circle::new(point, 4, line.colour.filled()));
            chart.draw_series(marks)?;
        }
        root.present()?;
    }
    Ok(svg)
}

/// A number beside an axis that goes so far.
fn number(value: f64, top: f64) -> String {
    if top < 1.0 {
        format!("{value:.2}")
    } else if top < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
