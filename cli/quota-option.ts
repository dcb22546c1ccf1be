import { DEFAULT_QUOTAS, isQuotaName, type Quotas } from '../operator/endpoint/checks/quotas.ts';

/** The quotas of `--quota NAME=N`, or what is wrong with them. */
export function quotasFrom(given: Readonly<Record<string, number>>): Quotas | string {
  for (const [name, limit] of Object.entries(given)) {
    const known = Object.keys(DEFAULT_QUOTAS).join(', ');
    if (!isQuotaName(name)) return `unknown quota ${JSON.stringify(name)}, expected one of ${known}`;
    if (!Number.isSafeInteger(limit) || limit < 0) return `quota ${name} must be a whole number`;
  }
  return { ...DEFAULT_QUOTAS, ...given };
}
