// Which time and environment are shown. They are in the address, so that a view can be shared and reloaded.

const RANGES = { "15m": 900, "1h": 3600, "24h": 86400, "7d": 604800 };
const form = document.getElementById("controls");
const custom = document.getElementById("custom");
const environment = document.getElementById("environment");
const since = document.getElementById("since");
const until = document.getElementById("until");
const buttons = [...form.querySelectorAll("[data-range]")];

export function query() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  if (!chosen.has("range") && !chosen.has("since")) chosen.set("range", "1h");
  return chosen;
}

// Calls back after each change, also by the browser's back button.
export function begin(changed) {
  buttons.forEach((button) => button.addEventListener("click", () => choose(button.dataset.range)));
  environment.addEventListener("change", () => set({ environment: environment.value }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    set({ range: null, since: `${since.value}Z`, until: `${until.value}Z` });
  });
  addEventListener("hashchange", () => {
    show();
    changed();
  });
  show();
}

export function showEnvironments(names, chosen) {
  const all = names.includes(chosen) ? names : [...names, chosen];
  const text = JSON.stringify([all, chosen]);
  if (environment.dataset.shown === text || document.activeElement === environment) return;
  environment.dataset.shown = text;
  environment.replaceChildren(...all.map((name) => new Option(name || "not named", name, false, name === chosen)));
}

// Azure's telemetry is read for a day at most.
export function allow(hours) {
  for (const button of buttons) button.disabled = RANGES[button.dataset.range] > 3600 * hours;
}

function choose(range) {
  if (range !== "custom") return set({ range, since: null, until: null });
  custom.hidden = !custom.hidden;
  show();
  if (!custom.hidden && !since.value) {
    const now = Date.now();
    const length = 1000 * (RANGES[query().get("range")] ?? 3600);
    since.value = new Date(now - length).toISOString().slice(0, 16);
    until.value = new Date(now).toISOString().slice(0, 16);
  }
}

function set(changes) {
  const chosen = query();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) chosen.delete(name);
    else chosen.set(name, value);
  }
  location.hash = chosen;
}

function show() {
  const chosen = query();
  const range = chosen.has("since") ? "custom" : chosen.get("range");
  if (chosen.has("since")) {
    custom.hidden = false;
    since.value = chosen.get("since").slice(0, 16);
    until.value = (chosen.get("until") ?? "").slice(0, 16);
  }
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.range === range));
  form.querySelector("[data-range=custom]").setAttribute("aria-expanded", String(!custom.hidden));
}
