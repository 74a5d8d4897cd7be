// Draws with plotly.js, in the page's colors. A chart is drawn into the same element again and again: plotly changes
// what differs, and keeps a part that somebody has zoomed into.

const touch = matchMedia("(pointer: coarse)");
const SERIES = 7;
const [LEGEND_ENTRY, LEGEND_ROW] = [130, 18];

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const series = (number) => color(`series-${((number - 1) % SERIES) + 1}`);

export function draw(id, traces, { layout = {}, view = "", label = "", empty = "" }) {
  const element = document.getElementById(id);
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", traces.length ? label : empty);
  if (!traces.length) {
    element.dataset.empty = empty;
    return;
  }
  delete element.dataset.empty;
  Plotly.react(element, traces, merge(base(view, traces.length, element.clientWidth), layout), {
    displayModeBar: false,
    responsive: true,
  });
}

// A line over time. Gaps stay gaps, and a value between two of them is a dot.
export function line(name, times, values, stroke, more = {}) {
  const alone = values.some((value, at) => value != null && values[at - 1] == null && values[at + 1] == null);
  return {
    type: "scatter",
    mode: alone ? "lines+markers" : "lines",
    name,
    x: times,
    y: values,
    line: { color: stroke, width: 2 },
    marker: { color: stroke, size: 4 },
    ...more,
  };
}

// What is between two lines: a closed shape for each stretch without a gap.
export function band(name, times, low, high, stroke) {
  const x = [];
  const y = [];
  for (let begin = 0; begin < times.length; begin += 1) {
    if (low[begin] == null) continue;
    let end = begin;
    while (end < times.length && low[end] != null) end += 1;
    const back = (values) => values.slice(begin, end).reverse();
    x.push(...times.slice(begin, end), ...back(times), null);
    y.push(...high.slice(begin, end), ...back(low), null);
    begin = end;
  }
  return {
    type: "scatter",
    mode: "lines",
    name,
    x,
    y,
    fill: "toself",
    fillcolor: `${stroke}33`,
    line: { width: 0 },
    hoverinfo: "skip",
    showlegend: false,
  };
}

// A line across the chart that values should stay below.
export function threshold(value) {
  if (value == null) return [];
  const place = { xref: "paper", x0: 0, x1: 1, yref: "y", y0: value, y1: value };
  return [{ type: "line", ...place, line: { color: color("bad"), width: 1.5, dash: "dash" } }];
}

// Bars with names of any length beside them.
export const named = (size) => ({
  margin: { autoexpand: true },
  yaxis: { type: "category", automargin: true, tickfont: { size } },
});

// Deployments on the time axis.
export function marks(rows) {
  const bar = { type: "line", yref: "paper", y0: 0, y1: 1, layer: "below" };
  const sign = { yref: "paper", y: 1, yanchor: "bottom", text: "▼", showarrow: false, captureevents: true };
  return {
    shapes: rows.map((row) => ({
      ...bar,
      x0: row.time,
      x1: row.time,
      line: { color: color("soft"), width: 1, dash: "dot" },
    })),
    annotations: rows.map((row) => ({
      ...sign,
      x: row.time,
      hovertext: `${new Date(row.time).toISOString().slice(11, 16)} ${row.what}${row.version && `: version ${row.version}`}`,
      font: { color: color("soft"), size: 10 },
    })),
  };
}

function base(view, traces, width) {
  const rows = Math.ceil((traces * LEGEND_ENTRY) / width);
  const axis = { gridcolor: color("grid"), linecolor: color("line"), zeroline: false };
  return {
    uirevision: view,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("text"), size: 12, family: "system-ui, sans-serif" },
    // Room for the legend is known; plotly would measure and draw several times to find it.
    margin: { l: 52, r: 12, t: 14 + LEGEND_ROW * rows, b: 40, autoexpand: false },
    hovermode: "x unified",
    hoverlabel: { bgcolor: color("card"), bordercolor: color("line"), font: { color: color("text") } },
    // With a finger, a drag is for the page.
    dragmode: touch.matches ? false : "zoom",
    showlegend: traces > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    xaxis: { ...axis, tickangle: 0, nticks: Math.max(3, Math.round(width / 110)) },
    yaxis: { ...axis, rangemode: "tozero", fixedrange: true },
  };
}

function merge(under, over) {
  const result = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const both = value?.constructor === Object && under[key]?.constructor === Object;
    result[key] = both ? merge(under[key], value) : value;
  }
  return result;
}
