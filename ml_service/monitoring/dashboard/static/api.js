// Asks the server, and tells a server that refuses from one that is gone.

const SECONDS = 30;

export class Refused extends Error {}

export async function ask(name, query, signal) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(1000 * SECONDS)]);
  const response = await fetch(`/api/${name}?${query}`, { signal: limit, cache: "no-store" });
  const content = await response.json();
  if (!response.ok) throw new Refused(content.error ?? `${name}: ${response.status}`);
  return content;
}
