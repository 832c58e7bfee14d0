//! One picture a group: bars of the ratios to switchboard, as SVG.

use std::fmt::Write;

use crate::interleave::Outcome;

const NAMES: f64 = 190.0;
const BARS: f64 = 440.0;
const WIDTH: f64 = NAMES + BARS + 70.0;
const BAR: f64 = 16.0;
const LINE: f64 = 20.0;

/// The outcomes of a group, by batch.
pub type Batches = Vec<(u64, Vec<Outcome>)>;

/// Draws a group. Bars are on a logarithmic scale, from a quarter of switchboard's time on.
pub fn draw(title: &str, batches: &Batches) -> String {
    let lines: usize = batches.iter().map(|(_, outcomes)| outcomes.len() + 1).sum();
    let height = 56.0 + lines as f64 * LINE;
    let ratios = batches.iter().flat_map(|(_, outcomes)| outcomes).map(|outcome| outcome.ratio);
    let most = ratios.fold(4.0, f64::max).log2().ceil();
    let x = |ratio: f64| NAMES + (ratio.log2().max(-2.0) + 2.0) / (most + 2.0) * BARS;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>\n\
         <text x=\"10\" y=\"36\" fill=\"#555\">time, as a multiple of switchboard's: longer is slower (logarithmic)\
         </text>\n",
        escape(title)
    );
    let mut y = 48.0;
    for (batch, outcomes) in batches {
        y += LINE;
        line(
            &mut svg,
            format_args!("<text x=\"10\" y=\"{}\" fill=\"#555\">{batch}</text>", y - 5.0),
        );
        for outcome in outcomes {
            bar(&mut svg, outcome, y, x(0.25), x(outcome.ratio));
            y += LINE;
        }
    }
    let one = x(1.0);
    line(
        &mut svg,
        format_args!(
            "<line x1=\"{one:.1}\" y1=\"48\" x2=\"{one:.1}\" y2=\"{y}\" stroke=\"#222\" stroke-dasharray=\"3 3\"/>",
        ),
    );
    svg + "</svg>\n"
}

fn bar(svg: &mut String, outcome: &Outcome, y: f64, from: f64, to: f64) {
    let color = match outcome.name {
        "switchboard" => "#1f6fb2",
        name if name.starts_with("floor") || name.ends_with("by hand") => "#9aa5ae",
        _ if outcome.ratio < 1.0 => "#c0392b",
        _ => "#7fb3d5",
    };
    let text = y + BAR - 4.0;
    line(
        svg,
        format_args!(
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>",
            NAMES - 6.0,
            escape(outcome.name),
        ),
    );
    line(
        svg,
        format_args!(
            "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{color}\"/>",
            to - from,
        ),
    );
    line(svg, format_args!("<text x=\"{:.1}\" y=\"{text}\">{:.2}</text>", to + 5.0, outcome.ratio));
}

fn line(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(svg, "{arguments}").expect("a string takes all");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
