/** One look at a gateway. Bytes where nothing else is said. */
export interface Sample {
  readonly seconds: number;
  readonly parentResident: number;
  readonly childResident: number;
  readonly parentHeap: number;
  readonly childHeap: number;
  /** Counts of open descriptors. */
  readonly parentDescriptors: number;
  readonly childDescriptors: number;
}

export type Series = Exclude<keyof Sample, 'seconds'>;

export interface Trend {
  readonly series: Series;
  /** Medians of the middle and the last third. */
  readonly middle: number;
  readonly last: number;
  readonly isFlat: boolean;
}

/** Whether each series stands still: the last third lies at most 5 % and a little above the middle one. */
export function trendsOf(samples: readonly Sample[]): readonly Trend[] {
  const third = Math.floor(samples.length / 3);
  return SERIES.map(({ series, allowance }) => {
    const values = samples.map((sample) => sample[series]);
    const middle = median(values.slice(third, 2 * third));
    const last = median(values.slice(2 * third));
    return { series, middle, last, isFlat: last <= middle * 1.05 + allowance };
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

const MEGABYTE = 1024 * 1024;
/** What comes and goes: pages that the collector has not given back yet, a login under way. */
const SERIES: readonly { readonly series: Series; readonly allowance: number }[] = [
  { series: 'parentResident', allowance: 4 * MEGABYTE },
  { series: 'childResident', allowance: 4 * MEGABYTE },
  { series: 'parentHeap', allowance: MEGABYTE },
  { series: 'childHeap', allowance: MEGABYTE },
  { series: 'parentDescriptors', allowance: 2 },
  { series: 'childDescriptors', allowance: 2 },
];
