//! Draws what Prometheus saw as a line chart in SVG.

use std::fmt::Write;

use serde_json::Value;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 40.0;
/// They can be told apart also by those who don't see red and green as two.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The points of one series: seconds and values.
pub fn points(series: &Value) -> Vec<(f64, f64)> {
    let values = series["values"].as_array().unwrap();
    let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse().ok()?));
    let points = values.iter().filter_map(point);
    points.filter(|(_, value): &(f64, f64)| value.is_finite()).collect()
}

fn name(series: &Value) -> String {
    let labels = series["metric"].as_object().unwrap().values();
    labels.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

/// A chart of these series, as the range query gave them.
pub fn svg(title: &str, series: &[Value]) -> String {
    let all: Vec<_> = series.iter().map(points).collect();
    let times = || all.iter().flatten().map(|(time, _)| *time);
    let (begin, end) = (times().fold(f64::MAX, f64::min), times().fold(f64::MIN, f64::max));
    let most = all.iter().flatten().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let x = |time: f64| MARGIN + (time - begin) / (end - begin).max(1.0) * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - value / most * (HEIGHT - 2.0 * MARGIN);
    let full = HEIGHT + 18.0 * series.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {full}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"14\">{title}</text>\n"
    );
    for value in [0.0, most] {
        let at = y(value);
        let (right, label) = (WIDTH - MARGIN, (value * 100.0).round() / 100.0);
        writeln!(svg, "<path d=\"M{MARGIN} {at:.1}H{right}\" stroke=\"#ccc\"/>").unwrap();
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            MARGIN - 4.0,
            at + 4.0
        )
        .unwrap();
    }
    writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{:.1}\">{:.0} seconds</text>",
        HEIGHT - MARGIN + 16.0,
        end - begin
    )
    .unwrap();
    for (at, (series, points)) in series.iter().zip(&all).enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let line: Vec<String> = points
            .iter()
            .map(|(time, value)| format!("{:.1},{:.1}", x(*time), y(*value)))
            .collect();
        writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            line.join(" ")
        )
        .unwrap();
        let row = HEIGHT + 18.0 * at as f64;
        writeln!(svg, "<text x=\"{MARGIN}\" y=\"{row:.1}\" fill=\"{colour}\">{}</text>", name(series)).unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}
