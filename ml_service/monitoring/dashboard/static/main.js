// Asks for everything every few seconds, and draws it. Nothing is asked while the page is hidden.

import { Refused, ask } from "./api.js";
import * as controls from "./controls.js";
import * as format from "./format.js";
import * as operations from "./operations.js";
import * as performance from "./performance.js";
import * as scoring from "./scoring.js";
import { element, place } from "./tables.js";

const NAMES = [
  "status", "scoring", "resources", "training", "drift", "performance", "alerts", "deployments", "rollout",
];
const AGAIN_SECONDS = 3;
const connection = document.getElementById("connection");
// What is shown of a panel before its first answer.
const latest = {
  drift: { versions: {} },
  performance: { versions: {} },
  training: { runs: [] },
  alerts: { fired: [], rows: [] },
  deployments: { marks: [] },
  rollout: { rollouts: [] },
};
const problems = {};
let timer;
let asking;
let lostSince = null;

async function look() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  const query = controls.query();
  const answers = await Promise.allSettled(NAMES.map((name) => ask(name, query, mine.signal)));
  if (mine.signal.aborted) return;
  NAMES.forEach((name, at) => {
    const { status, value, reason } = answers[at];
    delete problems[name];
    if (status === "fulfilled") latest[name] = value;
    else if (reason instanceof Refused) problems[name] = reason.message;
  });
  const answered = answers.some(({ status, reason }) => status === "fulfilled" || reason instanceof Refused);
  lostSince = answered ? null : (lostSince ?? Date.now());
  draw(query);
  const seconds = answered ? (latest.status?.refresh_seconds ?? AGAIN_SECONDS) : AGAIN_SECONDS;
  if (!document.hidden) timer = setTimeout(look, 1000 * seconds);
}

function draw(query = controls.query()) {
  showConnection();
  showNotices();
  if (!latest.scoring || !latest.resources) return;
  const view = String(query);
  controls.allow(latest.status?.longest_hours ?? Infinity);
  controls.showEnvironments(latest.scoring.environments, latest.scoring.environment);
  const here = latest.deployments.marks.filter((row) => [row.environment, ""].includes(latest.scoring.environment));
  scoring.tiles(latest.scoring, latest.alerts);
  scoring.draw(latest.scoring, here, view);
  scoring.sideBySide(latest.scoring, latest.rollout.rollouts);
  operations.resources(latest.resources, latest.scoring, here, view);
  operations.drift(latest.drift, view);
  performance.draw(latest.performance, here, view);
  operations.training(latest.training, view);
  operations.alerts(latest.alerts);
  operations.deployments(latest.deployments);
}

function showConnection() {
  connection.dataset.state = lostSince ? "lost" : "live";
  connection.textContent = lostSince
    ? `no answer since ${format.clock(lostSince)}; asking again`
    : `live, ${latest.status ? format.clock(latest.status.now) : "waiting"}`;
}

function showNotices() {
  const { ahead, behind, problem } = latest.status ?? {};
  const texts = [...new Set(Object.values(problems))].map((text) => ["bad", text]);
  if (problem) texts.push(["bad", problem]);
  if (behind) texts.push(["", "What was sent before is still being added up: days are not complete yet."]);
  if (ahead) texts.push(["", `Somebody's clock is ahead: observations say to be of ${format.moment(ahead)} UTC. They are shown once that time has come, or in a custom range.`]);
  place("notices", texts, () => texts.map(([className, textContent]) => element("p", { className, textContent })));
}

if (window.Plotly) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else look();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  controls.begin(look);
  look();
} else {
  place("notices", "", () => [element("p", { className: "bad", textContent: "Charts need the Python package plotly, which is not installed." })]);
}
