import { LabError, type Lab } from './netns.ts';

/** For `--metrics-listen`; a gateway has its namespace to itself. */
export const METRICS_LISTEN = '127.0.0.1:9464';

/** What a gateway that listens there serves now. */
export function metricsText(lab: Pick<Lab, 'gateway'>): string {
  return lab.gateway.must(process.execPath, '--eval', FETCH);
}

/** The value of a metric that has no labels but those of every metric. */
export function metricValue(lab: Pick<Lab, 'gateway'>, name: string): number {
  const value = new RegExp(`^${name}\\{.*\\} (\\S+)$`, 'm').exec(metricsText(lab))?.[1];
  if (value === undefined) throw new LabError(`There is no metric ${name}`);
  return Number(value);
}

const FETCH = `fetch('http://${METRICS_LISTEN}/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))`;
