// Processes, drift, training runs, alerts and deployments.

import * as charts from "./charts.js";
import { element, table } from "./tables.js";
import * as format from "./format.js";

const SEVERITIES = ["critical", "error", "warning", "information", "details"];
const OUTCOMES = { completed: "good", running: "accent", failed: "bad", interrupted: "warn", "no end": "warn" };
const FEATURES = 20;

export function resources(content, { since, until }, marks, view) {
  const of = { cpu: ["process_cpu_percent", "Processor"], memory: ["process_memory_mb", "Memory"] };
  for (const [id, [metric, title]] of Object.entries(of)) {
    const { processes, threshold } = content[metric];
    const traces = Object.entries(processes).map(([process, { times, values }], at) =>
      charts.line(`process ${process}`, times, values, charts.series(at + 1)),
    );
    const { shapes, annotations } = charts.marks(marks);
    const layout = {
      xaxis: { type: "date", range: [since, until] },
      shapes: [...shapes, ...charts.threshold(threshold)],
      annotations,
      showlegend: traces.length > 1 && traces.length < 7,
    };
    const label = `${title} of ${traces.length} processes; it should stay below ${threshold}`;
    charts.draw(id, traces, { layout, view, label, empty: "No scoring process sent anything in this time." });
  }
}

export function drift({ versions }, view) {
  const traces = Object.entries(versions).flatMap(([version, features]) => {
    const shown = features.slice(0, FEATURES).reverse();
    const y = shown.map((row) => row.feature);
    const stroke = charts.series(version || 1);
    const text = shown.map((row) => `KS ${format.number(row.ks)}, ${format.moment(row.time)}`);
    return [
      { type: "bar", orientation: "h", name: `version ${version}`, x: shown.map((row) => row.psi), y, text,
        textposition: "none", marker: { color: stroke }, hovertemplate: "%{y}: %{x:.4f} (%{text})<extra></extra>" },
      { type: "scatter", mode: "markers", name: "by chance", x: shown.map((row) => row.expected), y,
        marker: { symbol: "line-ns-open", size: 10, color: charts.color("text"), line: { width: 2 } },
        hovertemplate: "by chance %{x:.4f}<extra></extra>" },
    ];
  });
  charts.draw("drift", traces, {
    layout: { hovermode: "closest", xaxis: { rangemode: "tozero" }, ...charts.named(10) },
    view,
    label: `Drift of ${Object.entries(versions).map(([version, rows]) => `version ${version}: largest ${rows[0].feature}`).join(", ")}`,
    empty: "No drift was computed: mlops monitor drift",
  });
}

export function training({ runs }, view) {
  const traces = Object.keys(OUTCOMES)
    .map((outcome) => [outcome, runs.filter((run) => run.outcome === outcome)])
    .filter(([, some]) => some.length)
    .map(([outcome, some]) => ({
      type: "bar",
      name: outcome,
      x: some.map((run) => label(run)),
      y: some.map((run) => run.seconds ?? 0),
      marker: { color: charts.color(OUTCOMES[outcome]) },
      hovertemplate: `%{x}: %{y:.1f} s, ${outcome}<extra></extra>`,
    }));
  const order = runs.map(label).reverse();
  charts.draw("training", traces, {
    layout: {
      hovermode: "closest",
      showlegend: true,
      xaxis: { type: "category", categoryorder: "array", categoryarray: order, tickfont: { size: 10 } },
      yaxis: { title: { text: "seconds" } },
    },
    view,
    label: `${runs.length} training runs, ${runs.filter((run) => run.outcome === "failed").length} of them failed`,
    empty: "No step of a pipeline ran in this time: mlops run training",
  });
  const step = (row) => row.steps.map((s) => `${s.name.split(".").at(-1)} ${format.duration(s.seconds) || s.outcome}`).join(", ");
  const peak = (row) => Math.max(...row.steps.map((s) => s.peak_memory_mb ?? 0));
  const busy = (row) => Math.max(...row.steps.map((s) => s.gpu_percent ?? -1));
  const columns = [
    { title: "Began", cell: (row) => format.moment(row.started), kind: "moment" },
    { title: "Run", cell: (row) => row.id.slice(0, 12) },
    { title: "Outcome", cell: (row) => row.outcome, kind: (row) => OUTCOMES[row.outcome] ?? "" },
    { title: "Took", cell: (row) => format.duration(row.seconds), kind: "number" },
    { title: "Peak memory", cell: (row) => (peak(row) ? `${format.count(peak(row))} MB` : ""), kind: "number" },
    ...(runs.some((row) => busy(row) >= 0) ? [{ title: "GPU", cell: (row) => (busy(row) >= 0 ? `${Math.round(busy(row))}%` : ""), kind: "number" }] : []),
    { title: "Steps", cell: step },
    { title: "Error", cell: (row) => row.steps.find((s) => s.error)?.error ?? "" },
  ];
  table("runs", columns, runs, { empty: "" });
}

export function alerts({ fired, rows }) {
  const now = new Set(fired.map((row) => `${row.time} ${row.name} ${row.key}`));
  const stands = (row) => now.has(`${row.time} ${row.name} ${row.key}`);
  const columns = [
    { title: "When", cell: (row) => format.moment(row.time), kind: "moment" },
    { title: "Alert", cell: (row) => `${row.name}${row.key && ` (${row.key})`}` },
    { title: "State", cell: (row) => row.state, kind: (row) => (stands(row) ? "bad" : "") },
    { title: "Severity", cell: (row) => SEVERITIES[row.severity] ?? row.severity },
    { title: "Why, and what to do", cell: (row) => element("span", { textContent: [row.reason, row.action].filter(Boolean).join(". ") }) },
  ];
  const caption = rows.length ? `${fired.length} fired now` : "";
  table("alerts", columns, rows, { caption, empty: "No alert was fired in the last 30 days." });
}

export function deployments({ marks }) {
  const columns = [
    { title: "When", cell: (row) => format.moment(row.time), kind: "moment" },
    { title: "Where", cell: (row) => row.environment },
    { title: "What", cell: (row) => `${row.what}${row.version && `: version ${row.version}`}` },
    { title: "Who", cell: (row) => row.who },
    { title: "Why", cell: (row) => row.why },
  ];
  table("deployments", columns, marks, { empty: "Nothing was deployed, rolled out or rolled back in this time." });
}

const label = (run) => `${format.moment(run.started).slice(5, 16)}<br>${run.id.slice(0, 6)}`;
