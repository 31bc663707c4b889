//! The plots of a run, as SVG.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::tables::steady;
use crate::options::{Contender, Load};
use crate::results::{Crowd, Measure, Results};
use crate::statistics::Spread;

const INK: RGBColor = RGBColor(40, 40, 40);
const OTHERS: RGBColor = RGBColor(150, 170, 190);
const OURS: RGBColor = RGBColor(240, 130, 50);

/// One panel of bars is this wide.
const PANEL: u32 = 520;

/// From one bar to the next.
const STEP: u32 = 28;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Each plot that this run can fill, by its name.
///
/// # Errors
/// When it can't be drawn.
pub fn all(results: &Results) -> Result<Vec<(&'static str, String)>> {
    let mut plots = Vec::new();
    if !steady(results).is_empty() {
        plots.push(("throughput", throughput(results)?));
    }
    if let Some(crowd) = &results.crowd {
        plots.push(("memory", memory(crowd)?));
    }
    Ok(plots)
}

/// Everybody's answers a second as a share of the bare pass-through Worker's, a panel for each load.
fn throughput(results: &Results) -> Result<String> {
    let loads = steady(results);
    let columns = loads.len().min(2);
    let rows = loads.len().div_ceil(2);
    let height = 48 + STEP * u32::try_from(results.contenders().len())?;
    let size = (PANEL * u32::try_from(columns)?, height * u32::try_from(rows)?);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (panel, load) in root.split_evenly((rows, columns)).iter().zip(loads) {
            bars(panel, results, load)?;
        }
        root.present()?;
    }
    Ok(text)
}

/// The upstream alone is left out: it is so much faster that the rest could not be told apart.
fn bars(panel: &Area<'_>, results: &Results, load: Load) -> Result<()> {
    let base = if results.contenders().contains(&Contender::PassThrough) {
        Contender::PassThrough
    } else {
        Contender::Gateway
    };
    let mut found = Vec::new();
    for contender in results.contenders() {
        let ratio = Spread::of_ratios(results.pairs(load, (contender, base), Measure::rate));
        if let (Some(ratio), true) = (ratio, contender != Contender::Upstream) {
            found.push((contender, ratio));
        }
    }
    let highest = found.iter().map(|(_, ratio)| ratio.highest).fold(1.0, f64::max);
    let title = format!("{}: answers a second ÷ those of {}", load.name(), base.title());
    panel.draw(&Text::new(title, (12, 10), ("sans-serif", 14).into_font().color(&INK)))?;
    let (left, width) = (190, 250.0);
    let at = |value: f64| left + (value / highest * width) as i32;
    let mut top = 38;
    for (contender, ratio) in found {
        let color = if contender == Contender::Gateway { OURS } else { OTHERS };
        let font = || ("sans-serif", 13).into_font().color(&INK);
        panel.draw(&Text::new(contender.title(), (12, top + 3), font()))?;
        let bar = [(left, top), (at(ratio.median), top + 18)];
        panel.draw(&Rectangle::new(bar, color.filled()))?;
        let whisker = vec![(at(ratio.lowest), top + 9), (at(ratio.highest), top + 9)];
        panel.draw(&PathElement::new(whisker, INK.stroke_width(1)))?;
        let value = format!("{:.2}", ratio.median);
        panel.draw(&Text::new(value, (at(ratio.highest) + 6, top + 3), font()))?;
        top += STEP.cast_signed();
    }
    Ok(())
}

/// The memory as requests come.
fn memory(crowd: &Crowd) -> Result<String> {
    let points: Vec<(f64, f64)> =
        crowd.samples.iter().map(|it| (it.requests as f64, it.bytes as f64 / 1e6)).collect();
    let highest = points.iter().map(|(_, megabytes)| *megabytes).fold(1.0, f64::max);
    let title = format!("organized-gateway's memory with {} users", crowd.users);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (760, 300)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 16).into_font().color(&INK))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..crowd.requests as f64, 0.0..highest * 1.1)?;
        chart
            .configure_mesh()
            .x_desc("requests")
            .y_desc("MB")
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        chart.draw_series(LineSeries::new(points, OURS.stroke_width(2)))?;
        root.present()?;
    }
    Ok(text)
}
