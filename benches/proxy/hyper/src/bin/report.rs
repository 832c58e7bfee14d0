//! `report FIGURES [PAGE SECTION [PICTURE]]`: prints the figures of `benches/proxy/compare` as a table, each the median of
//! its rounds, the least CPU of a row bold. With a page, puts the table there, between `<!-- SECTION -->` and
//! `<!-- end -->`; with a picture, draws the CPU.

use std::error::Error;
use std::fmt::Write;
use std::fs;

/// Requests a second, CPU per request, p50, p99, p99.9 in µs, MiB, errors.
type Figures = [f64; 7];

struct Cell {
    row: String,
    server: String,
    figures: Figures,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let figures = fs::read_to_string(arguments.first().ok_or("FIGURES [PAGE SECTION [PICTURE]]")?)?;
    let cells = medians(&figures)?;
    let table = table(&cells);
    print!("{table}");
    if let [_, page, section, picture @ ..] = &arguments[..] {
        let text = fs::read_to_string(page)?;
        let (before, rest) = text.split_once(&format!("<!-- {section} -->\n")).ok_or("no section")?;
        let (_, after) = rest.split_once("<!-- end -->").ok_or("no end")?;
        fs::write(page, format!("{before}<!-- {section} -->\n\n{table}\n<!-- end -->{after}"))?;
        if let [picture] = picture {
            fs::write(picture, draw(&cells))?;
        }
    }
    Ok(())
}

/// The rows and servers in the order in which they come.
fn medians(text: &str) -> Result<Vec<Cell>, Box<dyn Error>> {
    let mut cells: Vec<(String, String, Vec<Figures>)> = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [row, server, figures @ ..] = &words[..] else { return Err(line.into()) };
        let parsed: Vec<f64> = figures.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let figures = parsed.try_into().map_err(|_| line)?;
        match cells.iter_mut().find(|cell| cell.0 == *row && cell.1 == *server) {
            Some(cell) => cell.2.push(figures),
            None => cells.push((row.to_string(), server.to_string(), vec![figures])),
        }
    }
    let median = |(row, server, rounds): (String, String, Vec<Figures>)| Cell {
        row,
        server,
        figures: std::array::from_fn(|at| {
            let mut all: Vec<_> = rounds.iter().map(|figures| figures[at]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        }),
    };
    Ok(cells.into_iter().map(median).collect())
}

/// `small_32`: what is asked for, and on how many connections.
fn title(row: &str) -> (&str, &str) {
    let (kind, connections) = row.rsplit_once('_').unwrap_or((row, ""));
    let kind = match kind {
        "small" => "1 KiB, kept alive",
        "large" => "1 MiB, kept alive",
        "new_client" => "1 KiB, a new client connection per request",
        "new_both" => "1 KiB, new connections on both sides per request",
        "tunnel" => "1 KiB, through a tunnel",
        kind => kind,
    };
    (kind, connections)
}

fn rows(cells: &[Cell]) -> impl Iterator<Item = &[Cell]> {
    cells.chunk_by(|a, b| a.row == b.row)
}

fn least(row: &[Cell]) -> f64 {
    row.iter().map(|cell| cell.figures[1]).fold(f64::INFINITY, f64::min)
}

fn table(cells: &[Cell]) -> String {
    let mut table = String::from(
        "| | connections | | CPU per request, µs | requests/s | p50, ms | p99, ms | p99.9, ms | MiB | errors |\n\
         |---|--:|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows(cells) {
        for (at, Cell { row: name, server, figures }) in row.iter().enumerate() {
            let (kind, connections) = if at == 0 { title(name) } else { ("", "") };
            let [rate, cpu, p50, p99, p999, memory, errors] = figures;
            let bold = if *cpu == least(row) { "**" } else { "" };
            let _ = writeln!(
                table,
                "| {kind} | {connections} | {server} | {bold}{cpu:.1}{bold} | {rate:.0} | {:.2} | {:.2} | {:.2} | {memory:.1} | {errors} |",
                p50 / 1e3,
                p99 / 1e3,
                p999 / 1e3,
            );
        }
    }
    table
}

/// Bars: the CPU per request as a multiple of ours.
fn draw(cells: &[Cell]) -> String {
    const LEFT: f64 = 110.0;
    const WIDTH: f64 = 520.0;
    const MOST: f64 = 5.0;
    let (mut bars, mut y) = (String::new(), 52.0);
    for row in rows(cells) {
        let (kind, connections) = title(&row[0].row);
        y += 22.0;
        let _ = writeln!(bars, r##"<text x="10" y="{y}" fill="#555">{kind}, {connections}</text>"##);
        let ours = row.iter().find(|cell| cell.server == "ours").map_or(1.0, |cell| cell.figures[1]);
        for Cell { server, figures, .. } in row {
            y += 18.0;
            let multiple = figures[1] / ours;
            let (width, color) = (
                WIDTH * multiple.min(MOST) / MOST,
                if server == "ours" { "#1f6fb2" } else { "#7fb3d5" },
            );
            let (name, bar, text) = (LEFT - 6.0, y - 12.0, LEFT + width + 5.0);
            let _ = writeln!(
                bars,
                r#"<text x="{name}" y="{y}" text-anchor="end">{server}</text>
<rect x="{LEFT}" y="{bar}" width="{width:.1}" height="14" fill="{color}"/>
<text x="{text:.1}" y="{y}">{multiple:.2} ({:.1} µs)</text>"#,
                figures[1]
            );
        }
    }
    let height = y + 16.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="10" y="20" font-size="14" font-weight="bold">CPU per request</text>
<text x="10" y="36" fill="#555">as a multiple of ours: longer is dearer (bars end at {MOST}); what is asked for, and on how many connections</text>
{bars}</svg>
"##
    )
}
