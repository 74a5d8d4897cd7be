// Numbers and moments for people. Every moment is UTC, as in the command line.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (value) => (value == null ? "" : whole.format(value));
export const number = (value) => (value == null ? "" : short.format(value));
export const milliseconds = (value) => (value == null ? "" : `${short.format(value)} ms`);
export const percent = (part, of) => (of ? `${((100 * part) / of).toFixed(2)}%` : "");
export const score = (value) => (value == null ? "" : value.toFixed(4));
export const moment = (time) => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")}`;
export const clock = (time) => `${new Date(time).toISOString().slice(11, 19)} UTC`;

export function duration(seconds) {
  if (seconds == null) return "";
  if (seconds < 60) return `${short.format(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
