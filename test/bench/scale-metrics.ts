import type { Namespace } from '../support/netns.ts';

/** The text of /metrics of the gateway in a namespace; empty while it cannot answer. */
export function metricsOf(gateway: Namespace): string {
  return gateway.run('curl', '-s', '-m', '20', 'http://127.0.0.1:9099/metrics').stdout;
}

/** Every sample of one metric, by its labels as they stand in the text. */
export function samplesOf(metrics: string, name: string): ReadonlyMap<string, number> {
  const samples = [...metrics.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))];
  return new Map(samples.map(([, labels, value]) => [labels ?? '', Number(value)]));
}

export function sumOf(metrics: string, name: string): number {
  return [...samplesOf(metrics, name).values()].reduce((total, value) => total + value, 0);
}
