// How good versions turned out to be. The time axis is that of the scores that were judged, as claims arrive long after
// them: usually it is not the stretch that the rest of the page shows.

import * as charts from "./charts.js";
import * as format from "./format.js";

// What is drawn of each stretch, and the lines that it is compared with.
const CHARTS = {
  gini: { title: "Gini", field: "gini", lines: { "at registration": "gini_before", limit: "gini_limit" } },
  calibration: {
    title: "Calibration error",
    field: "calibration_error",
    lines: { "by chance": "calibration_by_chance", limit: "calibration_limit" },
  },
  lift: { title: "Lift of the highest tenth", field: "lift", lines: {} },
};
const LEAST_EDGE = 30_000;

export function draw({ versions }, marks, view) {
  const found = Object.entries(versions);
  const rows = found.flatMap(([, own]) => own);
  const first = Math.min(...rows.map((row) => row.since));
  const last = Math.max(...rows.map((row) => row.until));
  const edge = Math.max((last - first) / 25, LEAST_EDGE);
  const range = [first - edge, last + edge];
  const near = marks.filter(({ time }) => range[0] < time && time < range[1]);
  for (const [id, { title, field, lines }] of Object.entries(CHARTS)) {
    const levels = Object.entries(lines).map(([name, of]) => level(name, found, of, edge / 2));
    const traces = [...levels, ...found.map(([version, own]) => judged(version, own, field))];
    const newest = found.map(([version, own]) => `version ${version}: newest ${format.number(own.at(-1)[field]) || "not known"}`);
    charts.draw(id, traces.filter((trace) => trace.y.some((value) => value != null)), {
      layout: { hovermode: "closest", xaxis: { type: "date", range }, ...charts.marks(near) },
      view,
      label: `${title}; ${newest.join(", ")}`,
      empty: "No claims are known of what was scored: mlops labels add FILE, then mlops monitor drift",
    });
  }
}

function judged(version, rows, field) {
  const shown = rows.filter((row) => row[field] != null);
  const stroke = charts.series(version || 1);
  const name = `version ${version}`;
  const middle = shown.map((row) => (row.since + row.until) / 2);
  const interval = {
    type: "data",
    symmetric: false,
    array: shown.map((row) => row.gini_high - row.gini),
    arrayminus: shown.map((row) => row.gini - row.gini_low),
    color: stroke,
    thickness: 1.5,
    visible: field === "gini",
  };
  const from = (row) => `${format.moment(row.since)} to ${format.moment(row.until)}`;
  return charts.line(name, middle, shown.map((row) => row[field]), stroke, {
    mode: "lines+markers",
    marker: { color: stroke, size: 6 },
    error_y: interval,
    text: shown.map((row) => `${format.count(row.rows)} rows, ${format.count(row.claims)} claims<br>${from(row)}`),
    hovertemplate: `${name}: %{y:.4f}<br>%{text}<extra></extra>`,
  });
}

// One line for all versions, each over its own time.
function level(name, versions, field, edge) {
  const x = [];
  const y = [];
  for (const [, rows] of versions) {
    rows.forEach((row, at) => {
      x.push(at ? row.since : row.since - edge, at < rows.length - 1 ? row.until : row.until + edge);
      y.push(row[field], row[field]);
    });
    x.push(null);
    y.push(null);
  }
  const stroke = charts.color(name === "limit" ? "bad" : "soft");
  return charts.line(name, x, y, stroke, {
    mode: "lines",
    line: { color: stroke, width: 1.5, dash: name === "limit" ? "dash" : "dot" },
    hovertemplate: `${name} %{y:.4f}<extra></extra>`,
  });
}
