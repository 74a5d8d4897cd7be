// What versions did: charts over time, and versions side by side.

import * as charts from "./charts.js";
import { element, place, table } from "./tables.js";
import * as format from "./format.js";

const NOTHING = "No request was answered in this time.";
const DASHES = { p50: "solid", p95: "dash", p99: "dot" };

export function draw(scoring, marks, view) {
  const { times, since, until } = scoring;
  const versions = Object.entries(scoring.versions);
  const over = (field) => versions.map(([id, v]) => charts.line(`version ${id}`, times, v[field], charts.series(id)));
  const time = { xaxis: { type: "date", range: [since, until] }, ...charts.marks(marks) };
  const show = (id, traces, layout, label) =>
    charts.draw(id, versions.length ? traces : [], { layout: { ...time, ...layout }, view, label, empty: NOTHING });
  const said = (what, text) => `${what}; ${versions.map(([id, v]) => `version ${id}: ${text(v)}`).join(", ")}`;

  const bands = versions.map(([id, v]) =>
    charts.band(`version ${id}, middle 80%`, times, v.score_low, v.score_high, charts.series(id)),
  );
  show("scores", [...bands, ...over("score_mean")], { showlegend: versions.length > 1 }, said(
    "Scores over time", (v) => `mean ${format.score(v.totals.score_mean)}`,
  ));
  show("requests", over("requests"), {}, said("Requests per second", (v) => `${format.count(v.totals.requests)} in all`));
  show("errors", over("errors"), {}, said("Errors", (v) => format.percent(v.totals.errors, v.totals.requests)));
  show("shares", shares(versions, times), { yaxis: { range: [0, 100] } }, said("Traffic shares", (v) =>
    format.percent(v.totals.requests, sum(versions, "requests")),
  ));
  show("latency", latencies(versions, times), { showlegend: true }, said("Latency", (v) => `p95 ${format.milliseconds(v.totals.p95)}`));
  histogram(scoring, versions, view);
  refused(versions, view);
}

export function sideBySide(scoring, rollouts) {
  const rollout = rollouts.find((row) => row.environment === scoring.environment);
  const roles = rollout?.active ? { [rollout.production]: "production", [rollout.canary]: "canary" } : {};
  const rows = Object.entries(scoring.versions).map(([id, v]) => ({ id, role: roles[id] ?? "", ...v.totals }));
  const all = rows.reduce((before, row) => before + row.requests, 0);
  const refusals = (row) => Object.values(row.refused).reduce((before, value) => before + value, 0);
  const numbers = {
    Requests: (row) => format.count(row.requests),
    Share: (row) => format.percent(row.requests, all),
    Errors: (row) => format.percent(row.errors, row.requests),
    Refused: (row) => format.percent(refusals(row), row.requests),
    p50: (row) => format.milliseconds(row.p50),
    p95: (row) => format.milliseconds(row.p95),
    p99: (row) => format.milliseconds(row.p99),
    Rows: (row) => format.count(row.rows),
    "Mean score": (row) => format.score(row.score_mean),
  };
  const name = (row) => {
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = `var(--series-${((row.id - 1) % 7) + 1})`;
    return element("span", { className: "version" }, swatch, `version ${row.id}${row.role && `, ${row.role}`}`);
  };
  const columns = Object.entries(numbers).map(([title, cell]) => ({ title, cell, kind: "number" }));
  table("versions", [{ title: "", cell: name }, ...columns], rows, { empty: NOTHING });

  place("rollout", rollout ?? null, () => {
    if (!rollout) return [];
    return [element("p", { className: "empty", textContent: rollout.title }), element("div", { id: "figures", className: "table" })];
  });
  if (!rollout?.figures.length) return;
  const fields = ["production", "canary", "compared", "limit"];
  const figures = fields.map((field) => ({ title: field, cell: (row) => row[field] }));
  table("figures", [{ title: "Rollout", cell: (row) => row.name }, ...figures], rollout.figures);
}

export function tiles(scoring, alerts) {
  const rows = Object.entries(scoring.versions).map(([id, v]) => ({ id, ...v.totals }));
  const total = (field) => rows.reduce((before, row) => before + row[field], 0);
  const main = rows.reduce((best, row) => (!best || row.requests > best.requests ? row : best), null);
  const [requests, errors, scored] = [total("requests"), total("errors"), total("rows")];
  const mean = rows.reduce((before, row) => before + (row.score_mean ?? 0) * row.rows, 0) / scored;
  const fired = alerts.fired.length;
  const shown = [
    ["Requests", format.count(requests)],
    ["Errors", format.percent(errors, requests) || "none"],
    [main ? `p95 of version ${main.id}` : "p95", format.milliseconds(main?.p95) || "none"],
    ["Rows scored", format.count(scored)],
    ["Mean score", scored ? format.score(mean) : "none"],
    ["Alerts", fired ? `${fired} fired` : "none", fired ? "bad" : ""],
  ];
  place("tiles", shown, () =>
    shown.map(([title, value, kind]) =>
      element("div", {}, element("dt", { textContent: title }), element("dd", { textContent: value, className: kind ?? "" })),
    ),
  );
}

function shares(versions, times) {
  return versions.map(([id, v]) => ({
    ...charts.line(`version ${id}`, times, v.share, charts.series(id)),
    mode: "lines",
    stackgroup: "all",
    line: { color: charts.series(id), width: 0.5, shape: "hv" },
    hovertemplate: "%{y:.1f}%",
  }));
}

function latencies(versions, times) {
  return versions.flatMap(([id, v]) =>
    Object.entries(DASHES).map(([quantile, dash]) => {
      const stroke = charts.series(id);
      const name = versions.length > 1 ? `version ${id} ${quantile}` : quantile;
      return charts.line(name, times, v[quantile], stroke, { line: { color: stroke, width: 1.6, dash } });
    }),
  );
}

function histogram({ edges }, versions, view) {
  // Bin 0 is below the first edge: it has no width on a logarithmic axis.
  const traces = versions
    .filter(([, v]) => v.totals.rows)
    .map(([id, v]) => {
      const more = { line: { color: charts.series(id), width: 2, shape: "hv" }, hovertemplate: "%{y:.2f}%" };
      return { ...charts.line(`version ${id}`, edges, v.histogram.slice(1), charts.series(id), more), mode: "lines" };
    });
  const filled = edges.filter((_, at) => versions.some(([, v]) => v.histogram[at + 1] > 0));
  const range = filled.length ? [Math.log10(filled[0]) - 0.1, Math.log10(filled.at(-1)) + 0.1] : null;
  const axis = { type: "log", dtick: "D2", title: { text: "predicted probability" }, tickformat: ".3~g", range };
  const layout = { xaxis: axis, yaxis: { ticksuffix: "%" }, margin: { b: 48 } };
  charts.draw("histogram", traces, { layout, view, label: "Distribution of scores", empty: "No row was scored in this time." });
}

function refused(versions, view) {
  const reasons = new Map();
  for (const [, v] of versions) {
    for (const [reason, count] of Object.entries(v.totals.refused)) reasons.set(reason, (reasons.get(reason) ?? 0) + count);
  }
  const largest = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([reason]) => reason).reverse();
  const traces = versions.map(([id, v]) => ({
    type: "bar",
    orientation: "h",
    name: `version ${id}`,
    y: largest,
    x: largest.map((reason) => v.totals.refused[reason] ?? 0),
    marker: { color: charts.series(id) },
  }));
  charts.draw("refused", largest.length ? traces : [], {
    layout: { barmode: "stack", hovermode: "closest", xaxis: { rangemode: "tozero" }, ...charts.named(12) },
    view,
    label: `Refused requests: ${largest.map((reason) => `${reason} ${reasons.get(reason)}`).reverse().join(", ")}`,
    empty: "No request was refused in this time.",
  });
}

const sum = (versions, field) => versions.reduce((before, [, v]) => before + v.totals[field], 0);
